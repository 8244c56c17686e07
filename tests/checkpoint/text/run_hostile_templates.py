"""Load and render templates of hostile_templates.py, each in a process of its own; print a line of JSON for each.

    python run_hostile_templates.py NAME …

Every line: name, result (LOAD, RENDER, HARMLESS), the message of the error, seconds of CPU time, and megabytes of
memory above a healthy rendering. A template that runs out of an eighth of the steps is extrapolated, and runs with all
of them if that comes near a limit.
"""

import json
import os
import resource
import sys
import time

from hostile_templates import HARMLESS, LOAD, RENDER, TEMPLATES
from small_vocabulary import metadata

from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.sandbox import budget
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import RequestError, TokenizerError

MESSAGES = [{"role": "user", "content": "<b> word y" * 50_000}]
PART = 8


def outcome(name: str, tokenizer: Tokenizer) -> dict[str, object]:
    result, message = HARMLESS, ""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    try:
        result = LOAD
        template = ChatTemplate({"default": TEMPLATES[name][0]}, tokenizer, "here")
        result = RENDER
        template.render(MESSAGES)
        result = HARMLESS
    except (TokenizerError, RequestError) as error:
        message = str(error)
    seconds = time.process_time() - began
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024
    return {"name": name, "result": result, "message": message, "seconds": seconds, "megabytes": megabytes}


def in_child(name: str, tokenizer: Tokenizer, steps: int) -> dict[str, object]:
    budget.STEPS = steps
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, json.dumps(outcome(name, tokenizer)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"name": name, "result": f"died with status {status}"}


def main() -> None:
    tokenizer = Tokenizer.from_gguf(metadata())
    ChatTemplate.of_family("qwen3_5", tokenizer).render(MESSAGES)
    steps = budget.STEPS
    for name in sys.argv[1:]:
        found = in_child(name, tokenizer, steps // PART)
        if "more steps" in str(found.get("message")):
            found["seconds"], found["megabytes"] = PART * found["seconds"], PART * found["megabytes"]
            if found["seconds"] > 1.3 or found["megabytes"] > 180:
                found = in_child(name, tokenizer, steps)
        print(json.dumps(found), flush=True)


main()
