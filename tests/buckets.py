"""A real S3 server in a process of its own, and a line to it that breaks, stalls or answers for it as it is told."""

import contextlib
import functools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

BUCKET = "models"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAOFATEST", "AWS_SECRET_ACCESS_KEY": "wJalr-secret-of-a-test/EXAMPLE"}


class Server:
    """moto's server. What it holds goes with it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            sys.executable,
            "-c",
            "from moto.server import main; main()",
            "-H",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise AssertionError("moto did not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def client(self) -> Any:
        """A plain client of the server: what tests look at it with, and damage it by."""
        with contextlib.suppress(
            self._made.exceptions.BucketAlreadyOwnedByYou, self._made.exceptions.BucketAlreadyExists
        ):
            self._made.create_bucket(Bucket=BUCKET)
        return self._made

    @functools.cached_property
    def _made(self) -> Any:
        from botocore.session import Session

        return Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=self.url,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"], aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip


class Line:
    """A port that leads to a server. Set `cut` and answers end after so many bytes, `stall_s` and they come slowly,

    `says` and they are this. `seen` is every request's head.
    """

    def __init__(self, to: int) -> None:
        self.to, self.cut, self.stall_s, self.says = to, 0, 0.0, b""
        self.seen: list[str] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._door.accept()
                threading.Thread(target=self._carry, args=(line,), daemon=True).start()

    def _carry(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            if self.says:
                self.seen.append(line.recv(65536).decode("latin-1"))
                line.sendall(self.says)
                return
            with socket.create_connection(("127.0.0.1", self.to)) as server:
                threading.Thread(target=self._up, args=(line, server), daemon=True).start()
                count = 0
                while piece := server.recv(65536):
                    if self.stall_s:
                        time.sleep(self.stall_s)
                    if self.cut and count + len(piece) > self.cut:
                        line.sendall(piece[: self.cut - count])
                        line.shutdown(socket.SHUT_RDWR)  # closing alone would wait for who reads from it
                        return
                    count += len(piece)
                    line.sendall(piece)

    def _up(self, line: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := line.recv(65536):
                if piece[:4] in (b"GET ", b"PUT ", b"HEAD", b"POST", b"DELE"):
                    self.seen.append(piece.partition(b"\r\n\r\n")[0].decode("latin-1"))
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def line_to(server: Server) -> Iterator[Line]:
    made = Line(server.port)
    try:
        yield made
    finally:
        made.close()


def settings_of(url: str, prefix: str = "") -> str:
    """The section of insource.toml for a bucket of the server at `url`."""
    return f'[artefacts]\nplace = "s3://{BUCKET}/{prefix}"\nendpoint = "{url}"\n'
