"""Train the weights of demo-qwen3.5: SmolLM2-135M-Instruct distilled into the Qwen 3.5 architecture.

Needs torch (the extra `train`); nothing else of the package imports it.
"""
