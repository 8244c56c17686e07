"""Validate a request's tools, for every API, before any work."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from shoestring.server.errors import bad_request
from shoestring.server.limits import Limits
from shoestring.server.request import ChatRequest

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def check_tools(request: ChatRequest, limits: Limits) -> None:
    """Check that names are valid and unique, parameters are object schemas within the limits, and tool_choice works.

    Raises ApiError (400) that names the tool.
    """
    if len(request.tools) > limits.tools:
        raise bad_request(f"{len(request.tools)} tools are too many: the limit is {limits.tools}", param="tools")
    names: set[str] = set()
    for number, tool in enumerate(request.tools):
        where = f"tools.{number}"
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, Mapping):
            raise bad_request(f"{where} is not a function: only tools of type 'function' are supported", param=where)
        name = function.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise bad_request(
                f"{where}: the name {name!r} must have 1 to 128 letters, digits, '_', '-' and '.'", param=where
            )
        if name in names:
            raise bad_request(f"{where}: two tools are named {name!r}: rename one", param=where)
        names.add(name)
        check_schema(function.get("parameters"), f"{where}.function.parameters", limits)
    choice = request.tool_choice
    if choice.name is not None and choice.name not in names:
        raise bad_request(f"tool_choice names {choice.name!r}, which is not among the tools", param="tool_choice")
    if choice.mode == "required" and not names:
        raise bad_request("tool_choice requires a call but there are no tools: send some", param="tool_choice")


def check_schema(schema: Any, where: str, limits: Limits, *, of_object: bool = True) -> None:
    """Check that a JSON schema is within the limits; None means no schema. Raises ApiError."""
    if schema is None:
        return
    if not isinstance(schema, Mapping):
        raise bad_request(f"{where} is not a JSON schema: send an object", param=where)
    if of_object and schema.get("type", "object") != "object":
        raise bad_request(f"{where}: the type of a function's parameters must be 'object'", param=where)
    if depth(schema) > limits.schema_depth:
        raise bad_request(f"{where} is nested too deeply: the limit is {limits.schema_depth} levels", param=where)
    size = len(json.dumps(schema))
    if size > limits.schema_bytes:
        raise bad_request(f"{where} has {size} bytes: the limit is {limits.schema_bytes}", param=where)


def depth(value: Any) -> int:
    """Levels of nested objects and lists. Not recursive, because the depth may be hostile."""
    deepest, level = 0, [value]
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                below += item.values()
            elif isinstance(item, list | tuple):
                below += item
        deepest += 1
        level = below
    return deepest
