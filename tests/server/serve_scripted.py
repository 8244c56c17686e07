"""A server process with a scripted model: `python serve_scripted.py SECONDS [STUCK]`. Prints its address, then serves.

SECONDS: its shutdown timeout. Steps are slow, so that tests can act during answers. STUCK: no prompt is ever ready;
with "lock", a thread also keeps the interpreter lock from the first signal on.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import Any

from running import slowed

from shoestring.server.http.run import serve
from shoestring.server.http.settings import Settings
from shoestring.server.http.sockets import address_of, bind
from shoestring.server.service import Service
from shoestring.testing import Reply, scripted_model

STEP_SECONDS = 0.01

if __name__ == "__main__":
    model = slowed(scripted_model({"long": Reply("x" * 200)}, context=4096), STEP_SECONDS)
    if sys.argv[2:]:
        never: Any = threading.Event().wait
        model.prompt_of = lambda request: never()  # type: ignore[method-assign]
    settings = Settings(shutdown_timeout=float(sys.argv[1]), body_timeout=30, write_timeout=0.5, keep_alive=0.1)
    with bind("127.0.0.1", 0) as listening:
        print(address_of(listening), flush=True)
        service = Service(model, limits=settings.limits)
        if sys.argv[2:] == ["lock"]:
            timer = threading.Timer(0.1, ctypes.PyDLL(None).sleep, (60,))
            service.refuse_new = timer.start  # type: ignore[method-assign]
        serve(service, settings, listening)
    print("ended", flush=True)
