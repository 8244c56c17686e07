"""A server process as the examples set it up, with a scripted model: `serve_slowly.py serve.toml HOLD`.

Prints its address, then serves. While the file HOLD exists, an answer stops after some tokens.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from shoestring.runtime.model import Model
from shoestring.server.facts import served_model
from shoestring.server.http.keys import read_keys
from shoestring.server.http.logs.log_file import open_log_file
from shoestring.server.http.run import serve
from shoestring.server.http.settings import resolve
from shoestring.server.http.sockets import address_of, bind
from shoestring.server.service import Service
from shoestring.testing import Reply, scripted_model

STEP_SECONDS = 0.02
#: Steps until the answer stops: the prompt, the end of its thinking, and some tokens.
STEPS = 12


def held(model: Model, hold: Path) -> Model:
    """The model with slow steps, of which only STEPS happen while `hold` exists."""
    runner: Any = model.engine.runner
    forward = runner.forward
    steps = 0

    def slowly(*arguments: Any) -> Any:
        nonlocal steps
        steps = steps + 1 if hold.exists() else 0
        while steps > STEPS and hold.exists():
            time.sleep(0.01)
        time.sleep(STEP_SECONDS)
        return forward(*arguments)

    runner.forward = slowly
    return model


if __name__ == "__main__":
    settings = resolve({}, {}, sys.argv[1]).settings
    model = held(scripted_model({"long": Reply("x" * 8000)}, context=16384), Path(sys.argv[2]))
    with bind(settings.host, settings.port) as listening:
        print(address_of(listening), flush=True)
        service = Service(model, served_model(model, str(settings.model_name)), limits=settings.limits)
        serve(service, settings, listening, keys=read_keys(settings), log_file=open_log_file(settings))
