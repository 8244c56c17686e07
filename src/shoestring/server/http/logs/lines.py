"""Lines of the log, as text or JSON: one for each request, one for each message of the server and its libraries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone

from shoestring.printable import shortened
from shoestring.server.http.record import Record
from shoestring.streaming.counters import short

#: Most characters of what clients can choose.
_MOST_METHOD = 20
_MOST_PATH = 120
_MOST_CLIENT = 50
_MOST_FAILURE = 400
#: of the reasons of up to 16 answers
_MOST_FINISH = 60
#: Most characters of a line as text, and of most as JSON; fewest that are left for a failure and a path.
MOST_LINE = 500
_FEWEST = 40


@dataclass(frozen=True)
class Style:
    """How lines look. dated: text has the date beside the time, as a file needs it."""

    as_json: bool = False
    dated: bool = False

    def request(self, entry: Record) -> str:
        """The line of a request."""
        return _json_line(entry) if self.as_json else _text_line(entry, self._time())

    def message(self, text: str, level: str = "", logger: str = "shoestring", request_id: str = "") -> str:
        """The line of a message, printable and shortened. level: "" for a message of the log itself."""
        if not self.as_json:
            start = f"{self._time()}  " if self.dated else ""
            start += f"{level} {logger}: " if level else ""
            end = f"  {request_id}" if request_id else ""
            return start + shortened(text, MOST_LINE - len(start) - len(end)) + end
        facts = {"time": _utc(), "level": level or "INFO", "logger": logger, "message": shortened(text, _MOST_FAILURE)}
        return json.dumps(facts | ({"request_id": request_id} if request_id else {}), ensure_ascii=False)

    def _time(self) -> str:
        return datetime.now().strftime("%Y-%m-%d %H:%M:%S" if self.dated else "%H:%M:%S")


def _utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _text_line(entry: Record, time: str) -> str:
    """What the client waited for, how the request ended, who sent it, and its id."""
    parts = [
        time,
        f"{shortened(entry.method, _MOST_METHOD)} {shortened(entry.path, _MOST_PATH)}",
        str(entry.status or 499),
    ]
    if entry.prompt_tokens:
        cached = f" ({entry.cached_tokens / entry.prompt_tokens:.0%} cached)" if entry.cached_tokens else ""
        parts.append(f"prompt {entry.prompt_tokens}{cached}")
    if entry.first_token_seconds is not None:
        parts.append(f"first token {entry.first_token_seconds:.2f} s")
    if entry.output_tokens:
        rate = entry.tokens_per_second
        parts.append(f"{entry.output_tokens} tokens" + (f", {rate:.1f}/s" if rate is not None else ""))
    if entry.experts is not None and entry.experts.asked:
        parts.append(short(entry.experts))
    if entry.finish:
        parts.append(shortened(entry.finish, _MOST_FINISH))
    parts.append(f"{entry.total_seconds:.2f} s")
    parts += filter(None, (entry.key or shortened(entry.client, _MOST_CLIENT), entry.request_id))
    line = "  ".join(parts)
    if entry.failure:
        most = max(_FEWEST, min(_MOST_FAILURE, MOST_LINE - len(line) - len("  failed: ")))
        line += "  failed: " + shortened(" ".join(entry.failure.split()), most)
    return line


def _experts(entry: Record) -> dict[str, object]:
    """Of a model that streams its experts, from the first token to the last."""
    if entry.experts is None:
        return {}
    return {"expert_hit_rate": entry.experts.hit_rate, "expert_read_bytes": entry.experts.read_bytes}


def _json_line(entry: Record) -> str:
    """Seconds and tokens; null: not reached, or none."""
    facts: dict[str, object] = {
        "time": _utc(),
        "method": shortened(entry.method, _MOST_METHOD),
        "path": shortened(entry.path, _MOST_PATH),
        "status": entry.status or 499,
        "request_id": entry.request_id or None,
        "client": shortened(entry.client, _MOST_CLIENT) or None,
        "key": entry.key or None,
        "prompt_tokens": entry.prompt_tokens,
        "cached_tokens": entry.cached_tokens,
        "first_token_seconds": entry.first_token_seconds,
        "output_tokens": entry.output_tokens,
        "tokens_per_second": entry.tokens_per_second,
        **_experts(entry),
        "finish_reason": shortened(entry.finish, _MOST_FINISH) or None,
        "total_seconds": entry.total_seconds,
        "failure": shortened(entry.failure, _MOST_FAILURE) or None,
    }
    facts = {name: round(fact, 4) if isinstance(fact, float) else fact for name, fact in facts.items()}
    line = json.dumps(facts, ensure_ascii=False)
    for name in ("failure", "path"):
        fact = str(facts[name] or "")
        if len(fact) > _FEWEST and len(line) > MOST_LINE:
            facts[name] = shortened(fact, max(_FEWEST, len(fact) - (len(line) - MOST_LINE)))
            line = json.dumps(facts, ensure_ascii=False)
    return line
