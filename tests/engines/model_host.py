"""A model host on this machine for tests: the hub's published API, plain files, a package index, and broken wires.

Checked against the official client in test_sources_hub.py, so that what our code speaks to is what the hub speaks.
"""

import hashlib
import itertools
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Heard(list):
    """Progress that remembers."""

    def __call__(self, what, done, total):
        self.append((what, done, total))

    def backwards(self):
        marks = [done for _, done, _ in self]
        return any(later < earlier for earlier, later in itertools.pairwise(marks))


class Host:
    """`files` maps a repository's file names to bytes; `pages` are other paths.

    `cuts` are the bytes after which the next transfers break off, `faults` the statuses answered first, `cdn` where
    files are sent on to, `promised` a Content-Length that is not true. `asked` records
    (path, Range, If-Range, Authorization).
    """

    def __init__(self, files, *, repository="acme/tiny"):
        self.files, self.repository = dict(files), repository
        self.cuts, self.faults, self.asked = [], [], []
        self.pages = {}
        self.cdn = ""
        self.url = ""
        self.etags = True
        self.promised = 0

    def etag(self, data):
        return f'"{hashlib.sha256(data).hexdigest()}"'

    def about(self):
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data, usedforsecurity=False).hexdigest()}
            | (
                {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}
                if name.endswith((".safetensors", ".gguf", ".bin"))
                else {}
            )
            for name, data in self.files.items()
        ]
        return {"id": self.repository, "modelId": self.repository, "sha": COMMIT, "siblings": siblings, "tags": []}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def host(self):
        return self.server.host

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        host, path = self.host, self.path.partition("?")[0]
        if self.command == "GET":
            kept = [self.headers.get(name) for name in ("Range", "If-Range", "Authorization")]
            host.asked.append((path, *kept))
        if host.faults:
            self.answer(host.faults.pop(0), b"broken", {"Retry-After": "0"})
        elif path.startswith(f"/api/models/{host.repository}/revision/"):
            self.answer(200, json.dumps(host.about()).encode(), {"Content-Type": "application/json"})
        elif path in host.pages:
            self.answer(200, host.pages[path], {"Content-Type": "application/vnd.pypi.simple.v1+json"})
        elif (name := path.rpartition("/")[2]) in host.files:
            self.stored(path, name)
        else:
            self.answer(404, b"nothing here", {})

    def stored(self, path, name):
        host = self.host
        data = host.files[name]
        about = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(data)), "X-Linked-ETag": host.etag(data)}
        if host.cdn and not path.startswith("/cdn/"):
            return self.answer(302, b"", about | {"Location": f"{host.cdn}/cdn/{name}"})
        headers = about | ({"ETag": host.etag(data)} if host.etags else {})
        start, asked = 0, self.headers.get("Range")
        partial = bool(asked) and self.headers.get("If-Range") in (None, host.etag(data))
        if partial:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self.answer(206 if partial else 200, data[start:], headers, cut=True)

    def answer(self, status, body, headers, *, cut=False):
        self.send_response(status)
        length = {"Content-Length": str(self.host.promised or len(body))}
        for key, value in (length | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut and self.host.cuts:
            body = body[: self.host.cuts.pop(0)]
            self.close_connection = True
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that leaves early is part of the tests."""


@contextmanager
def serving(host):
    """The host, listening; its address is then in `host.url`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.host = host
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
