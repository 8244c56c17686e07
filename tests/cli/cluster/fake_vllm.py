"""What `vllm serve` looks like from outside: python fake_vllm.py serve MODEL --host … --port … --served-model-name …

It answers with the scripted model, wants the key of VLLM_API_KEY, and dies when a message says so.
"""

from __future__ import annotations

import os
import sys

import uvicorn

from shoestring.server.facts import served_model
from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import Asked, Reply, scripted_model


def answer(asked: Asked) -> Reply:
    if asked.text == "die":
        os._exit(3)
    return Reply(f"vllm heard {asked.text}", thinking="hmm")


if __name__ == "__main__":
    words = sys.argv[1:]
    print("arguments", *words, flush=True)
    if os.environ.get("FAKE_VLLM_FAILS"):
        print("ValueError: no such model", flush=True)
        sys.exit(1)
    assert words[0] == "serve"
    option = {name: words[words.index(name) + 1] for name in ("--host", "--port", "--served-model-name")}
    model = scripted_model(answer, context=2048)
    app = create_app(
        Service(model, served_model(model, option["--served-model-name"])),
        Settings(api_keys=(os.environ["VLLM_API_KEY"],)),
    )
    print("keys of shoestring here:", [name for name in os.environ if name.startswith("SHOESTRING_")], flush=True)
    uvicorn.run(app, host=option["--host"], port=int(option["--port"]), log_level="error")
