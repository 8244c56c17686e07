"""A server process as the examples set it up, with a scripted model that answers slowly: `serve_slowly.py serve.toml`.

Prints its address, then serves.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from running import slowed

from shoestring.server.facts import served_model
from shoestring.server.http.keys import read_keys
from shoestring.server.http.logs.log_file import open_log_file
from shoestring.server.http.run import serve
from shoestring.server.http.settings import resolve
from shoestring.server.http.sockets import address_of, bind
from shoestring.server.service import Service
from shoestring.testing import Reply, scripted_model

STEP_SECONDS = 0.3

if __name__ == "__main__":
    settings = resolve({}, {}, sys.argv[1]).settings
    model = slowed(scripted_model({"long": Reply("x" * 8000)}, context=16384), STEP_SECONDS)
    with bind(settings.host, settings.port) as listening:
        print(address_of(listening), flush=True)
        service = Service(model, served_model(model, str(settings.model_name)), limits=settings.limits)
        serve(service, settings, listening, keys=read_keys(settings), log_file=open_log_file(settings))
