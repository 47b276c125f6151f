"""A server that must not be reached: it counts every connection that the kernel took for it, and would answer well.

And a watch over what this process asks the kernel to connect to.
"""

import json
import socket
import sys
import threading
from contextlib import contextmanager

SAID = {
    "id": "1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "refund"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}
MARK = b"MARK"


class Trap:
    """Listens on `host`; "" is every address of this machine, of both families. `location` is where it sends on to."""

    def __init__(self, host, *, location=""):
        family = socket.AF_INET6 if not host or ":" in host else socket.AF_INET
        self.listening = socket.create_server((host, 0), family=family, dualstack_ipv6=not host, backlog=64)
        self.host, self.port = host or "127.0.0.1", self.listening.getsockname()[1]
        self.location, self.accepted, self.marks = location, 0, 0
        self.marked = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self):
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def connections(self):
        """How many there were: the kernel hands them out in order, so ours comes after all before it."""
        self.marked.clear()
        with socket.create_connection((self.host, self.port), 5) as line:
            line.sendall(MARK)
            assert self.marked.wait(5)
        self.marks += 1
        return self.accepted - self.marks

    def _serve(self):
        while True:
            try:
                line, _ = self.listening.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line):
        with line:
            data = line.recv(65_536)
            if data == MARK:
                self.marked.set()
                return
            body = json.dumps(SAID).encode()
            if self.location:
                head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {self.location}\r\n"
                body = b""
            else:
                head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            line.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)


@contextmanager
def trap(host="", **more):
    one = Trap(host, **more)
    try:
        yield one
    finally:
        one.listening.shutdown(socket.SHUT_RDWR)
        one.listening.close()


class Watch:
    """Every address that this process asks the kernel to connect to."""

    def __init__(self):
        self.seen, self.on = [], False
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if self.on and event == "socket.connect":
            self.seen.append(arguments[1])

    @contextmanager
    def watching(self):
        self.seen, self.on = [], True
        try:
            yield self.seen
        finally:
            self.on = False
