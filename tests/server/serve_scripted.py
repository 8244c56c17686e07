"""A server process with a scripted model: `python serve_scripted.py SECONDS`. Prints its address, then serves.

SECONDS: its shutdown timeout. Steps are slow, so that tests can act during answers.
"""

from __future__ import annotations

import sys

from running import slowed

from shoestring.server.http.run import serve
from shoestring.server.http.settings import Settings
from shoestring.server.http.sockets import address_of, bind
from shoestring.server.service import Service
from shoestring.testing import Reply, scripted_model

STEP_SECONDS = 0.01

if __name__ == "__main__":
    model = slowed(scripted_model({"long": Reply("x" * 200)}, context=4096), STEP_SECONDS)
    settings = Settings(shutdown_timeout=float(sys.argv[1]), body_timeout=0.5, write_timeout=0.5, keep_alive=0.1)
    with bind("127.0.0.1", 0) as listening:
        print(address_of(listening), flush=True)
        serve(Service(model, limits=settings.limits), settings, listening)
    print("ended", flush=True)
