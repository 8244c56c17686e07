"""A stand-in for the Hub on localhost: the few routes that huggingface_hub calls, with Range and planned failures."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


def git_blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class StandIn:
    """Repositories by name, each a dict of file → bytes. What was asked for stands in `requests`."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        #: sizes to announce instead of the true ones
        self.announced: dict[str, int] = {}
        #: bytes to send instead of the true ones
        self.sent: dict[str, bytes] = {}
        #: ETags to send instead of SHA-256
        self.etags: dict[str, str] = {}
        #: whether the list of files has SHA-256 of .gguf and .safetensors files, and git's blob ids of the others
        self.lists_identities = False
        self.commit: object = SHA
        #: HTTP status for a whole repository: 401, 403, 500 …
        self.refused: dict[str, int] = {}
        #: file → bytes after which its next GETs break off
        self.breaks: dict[str, list[int]] = {}
        #: (method, path, Range header)
        self.requests: list[tuple[str, str, str | None]] = []
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator["StandIn"]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                path = unquote(urlsplit(self.path).path)
                stand_in.requests.append((self.command, path, self.headers.get("Range")))
                if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/([^/]+))?", path):
                    self.describe(match[1], match[3])
                elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(/.*)?", path):
                    self.describe(match[1], match[2], tree=True)
                elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                    self.file(match[1], match[3], body)
                else:
                    self.reply(404, b"{}")

            def describe(self, repo: str, revision: str | None, tree: bool = False) -> None:
                files = stand_in.repositories.get(repo)
                status = stand_in.refused.get(repo, 200 if files is not None else 401)

                def listed_identity(name: str) -> dict[str, object]:
                    data = (files or {})[name]
                    if not stand_in.lists_identities:
                        return {}
                    if not name.endswith((".gguf", ".safetensors")):
                        return {"blobId": git_blob_id(data)}
                    lfs = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 130}
                    return {"blobId": "0" * 40, "lfs": lfs}

                if status == 200 and revision not in (None, "main", SHA):
                    self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                elif status != 200:
                    code = {401: "RepoNotFound", 403: "GatedRepo"}.get(status, "")
                    self.reply(status, b"{}", {"X-Error-Code": code} if code else {})
                else:
                    sizes = {name: stand_in.announced.get(name, len(data)) for name, data in (files or {}).items()}
                    listed = [
                        {"rfilename": name, "size": size, **listed_identity(name)} for name, size in sizes.items()
                    ]
                    entries = [
                        {"type": "file", "path": name, "size": size, "oid": hashlib.sha1(name.encode()).hexdigest()}
                        for name, size in sizes.items()
                    ]
                    value = entries if tree else {"id": repo, "sha": stand_in.commit, "siblings": listed}
                    self.reply(200, json.dumps(value).encode())

            def file(self, repo: str, name: str, body: bool) -> None:
                data = stand_in.repositories.get(repo, {}).get(name)
                if data is None:
                    self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
                    return
                named = stand_in.etags.get(name, hashlib.sha256(data).hexdigest())
                etag = {"ETag": f'"{named}"', "X-Repo-Commit": str(stand_in.commit), "Accept-Ranges": "bytes"}
                data = stand_in.sent.get(name, data)
                span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
                start = int(span[1]) if span else 0
                part = data[start : int(span[2]) + 1 if span and span[2] else None]
                if span:
                    etag["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
                cut = stand_in.breaks[name].pop(0) if body and stand_in.breaks.get(name) else None
                self.reply(206 if span else 200, part, etag, body, cut)

            def reply(
                self,
                status: int,
                content: bytes,
                headers: dict[str, str] | None = None,
                body: bool = True,
                cut: int | None = None,
            ) -> None:
                self.send_response(status)
                for key, value in (headers or {}).items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body and self.command != "HEAD":
                    self.wfile.write(content if cut is None else content[:cut])
                if cut is not None:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
