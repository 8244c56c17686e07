"""Validate a request's tools, for every API, before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shoestring.errors import RequestError
from shoestring.output.masks import schema_text
from shoestring.printable import quoted
from shoestring.server.errors import bad_request
from shoestring.server.limits import Limits
from shoestring.server.request import ChatRequest

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def function_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool in OpenAI's nested shape, from the flat shapes of the Responses API and of Anthropic, too.

    The type may be missing or stand inside. A schema that is null or [] has no parameters. Others stay unchanged.
    """
    if tool.get("type") not in (None, "function", "custom"):
        return tool
    function = tool.get("function")
    if function is None and isinstance(tool.get("name"), str) and "custom" not in tool:
        function = {name: value for name, value in tool.items() if name not in ("type", "cache_control")}
    if not isinstance(function, Mapping):
        return tool
    fields = {name: value for name, value in function.items() if value is not None and name != "type"}
    if "input_schema" in fields:
        fields.setdefault("parameters", fields.pop("input_schema"))
    if fields.get("parameters") == []:
        fields["parameters"] = {"type": "object", "properties": {}}
    return {"type": "function", "function": fields}


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
                f"{where}: the name {quoted(name)} must have 1 to 128 letters, digits, '_', '-' and '.'", param=where
            )
        if name in names:
            raise bad_request(f"{where}: two tools are named {quoted(name)}: rename one", param=where)
        names.add(name)
        _check_parameters(function.get("parameters"), f"{where}.function.parameters", limits)
    choice = request.tool_choice
    if choice.name is not None and choice.name not in names:
        raise bad_request(f"tool_choice names {quoted(choice.name)}, which is not among the tools", param="tool_choice")
    if choice.mode == "required" and not names:
        raise bad_request("tool_choice requires a call but there are no tools: send some", param="tool_choice")


def _check_parameters(schema: Any, where: str, limits: Limits) -> None:
    """Check a function's parameters, a JSON schema of an object within the limits; None: there are none."""
    if schema is None:
        return
    if not isinstance(schema, Mapping):
        raise bad_request(f"{where} is not a JSON schema: send an object", param=where)
    if schema.get("type", "object") != "object":
        raise bad_request(f"{where}: the type of a function's parameters must be 'object'", param=where)
    try:
        schema_text(schema, where, limits.schema_characters, limits.schema_depth)
    except RequestError as error:
        raise bad_request(str(error), param=where) from None
