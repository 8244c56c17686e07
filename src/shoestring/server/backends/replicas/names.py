"""Names that Ray's files and its API need."""

from __future__ import annotations

APP = "shoestring"
ROUTER = "shoestring.server.backends.replicas.router:PrefixRouter"
#: Of `build` in application.py.
IMPORT_PATH = "shoestring.server.backends.replicas.application:build"
