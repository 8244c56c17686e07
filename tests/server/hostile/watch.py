"""What other clients notice during a siege: `python watch.py PORT MODEL`, until its standard input ends.

A health prober and a client that streams answers, each from an address of its own, so that the server sees other
clients than the attackers. A second prober asks a server that does nothing, in a process of its own: what delays it is
the machine. Prints one JSON object: seconds of each, and what went wrong.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Seconds between two probes, and between two answers.
_PAUSE = 0.05
_TIMEOUT = 120.0
#: The prompt is short; the answers are the same each time.
_QUESTION = {
    "messages": [{"role": "user", "content": "Say something about rivers."}],
    "max_tokens": 6,
    "temperature": 0,
    "stream": True,
    "ignore_eos": True,
}


class _Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: Any) -> None:
        pass


def _do_nothing(ports: Any) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    ports.put(server.server_address[1])
    server.serve_forever()


class Watch:
    """Seconds of each reply, and complaints."""

    def __init__(self, port: int, control: int) -> None:
        self.port, self.control = port, control
        self.health: list[float] = []
        self.idle: list[float] = []
        self.first: list[float] = []
        self.answers: set[str] = set()
        self.problems: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._repeat, args=arguments)
            for arguments in ((self._probe, self.port, self.health), (self._probe, self.control, self.idle))
        ]
        threads.append(threading.Thread(target=self._repeat, args=(self._ask, self.port, self.first)))
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.over.set()
        for thread in threads:
            thread.join()

    def _repeat(self, act: Any, port: int, seconds: list[float]) -> None:
        while not self.over.wait(_PAUSE):
            start = time.perf_counter()
            try:
                seconds.append(act(port) - start)
            except (OSError, http.client.HTTPException, ValueError) as error:
                seconds.append(time.perf_counter() - start)
                self.problems.append(f"{act.__name__}: {error!r}")

    def _probe(self, port: int) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", port, _TIMEOUT, source_address=("127.0.0.3", 0))
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise ValueError(f"/health says {answer.status}")
            return time.perf_counter()
        finally:
            connection.close()

    def _ask(self, port: int) -> float:
        """Stream an answer to its end; the time of its first token."""
        connection = http.client.HTTPConnection("127.0.0.1", port, _TIMEOUT, source_address=("127.0.0.2", 0))
        first, texts = 0.0, []
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(_QUESTION))
            answer = connection.getresponse()
            if answer.status != 200:
                raise ValueError(f"the normal client gets {answer.status}: {answer.read(500)!r}")
            for line in answer:
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    raise ValueError(f"the normal client's answer ends with {chunk}")
                text = text_of(chunk)
                first = first or (time.perf_counter() if text else 0.0)
                texts.append(text)
        finally:
            connection.close()
        self.answers.add("".join(texts))
        return first or time.perf_counter()


def text_of(chunk: dict[str, Any]) -> str:
    """What a piece of a stream adds to the answer and to its thinking."""
    return "".join(
        str(choice["delta"].get(field) or "")
        for choice in chunk["choices"]
        for field in ("reasoning_content", "content")
    )


if __name__ == "__main__":
    ports: Any = multiprocessing.Queue()
    multiprocessing.Process(target=_do_nothing, args=(ports,), daemon=True).start()
    watch = Watch(int(sys.argv[1]), ports.get())
    watch.run()
    names = ("health", "idle", "first", "problems")
    print(json.dumps({**{name: getattr(watch, name) for name in names}, "answers": sorted(watch.answers)}))
