"""Pictures and video: bytes of a file → kind and size → RGB → what a model's tower reads, and how many tokens it takes.

`kinds` and `headers` read what a file says of itself, before anything is decoded. `picture` and `video` decode.
`resize` makes the reference's pixels, and `qwen3_5` and `llama4` are the processors of both families, with the token
counts as functions of sizes alone. Nothing here runs a model.
"""
