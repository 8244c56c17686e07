"""Attacks on single fields: a hostile value in every place of every body."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator

from hostile.attack import Attack, post
from hostile.endpoints import UNKNOWN, VALID, gets, posts
from hostile.holes import filled, holes
from hostile.values import VALUES

METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW")
TYPES = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/xml",
    "\x1b[31m",
    "",
)


def hostile_fields(source: random.Random) -> Iterator[Attack]:
    """Without end: rounds in which every place of every endpoint gets another value."""
    places = [(endpoint.path, *hole) for endpoint in posts() for hole in holes(endpoint, VALID[endpoint.path])]
    names = list(VALUES)
    while True:
        source.shuffle(places)
        source.shuffle(names)
        for (path, place, body), name in zip(places, itertools.cycle(names)):
            yield post(f"{place or 'the body'} is {name}", path, filled(body, VALUES[name]))


def hostile_requests(source: random.Random) -> Iterator[Attack]:
    """Without end: wrong methods, wrong types and encodings of bodies, unknown paths, truncated bodies."""
    bodies = [(path, json.dumps(body).encode()) for path, body in VALID.items()]
    while True:
        path, body = source.choice(bodies)
        match source.randrange(5):
            case 0:
                yield post("another method", path, body, method=source.choice(METHODS))
            case 1:
                headers = {"Content-Type": source.choice(TYPES)}
                if source.random() < 0.5:
                    headers["Content-Encoding"] = source.choice(("gzip", "br", "\x07", "identity"))
                yield post(f"headers {headers}", path, body, headers=headers)
            case 2:
                cut = source.randrange(len(body))
                yield post(f"the first {cut} bytes", path, body[:cut])
            case 3:
                encoding = source.choice(("utf-16", "utf-32", "utf-8-sig", "cp500"))
                yield post(f"in {encoding}", path, body.decode().encode(encoding))
            case _:
                path = source.choice((*UNKNOWN, *gets()))
                method = source.choice(("GET", "POST", *METHODS))
                yield post("another endpoint", path, body, method=method)
