"""A forward proxy and an HTTPS server, both on this machine, for tests. They note what they were told."""

import asyncio
import json
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from trap import SAID


class Proxy:
    """Passes everything on to `port` of this machine, whatever it is asked for. `says` is told in the place of that."""

    def __init__(self, port: int, *, says: bytes = b"", wants: str = "", silent: bool = False) -> None:
        self.to, self.says, self.wants, self.silent = port, says, wants, silent
        self.heads: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """The first line of every call."""
        return [head.partition("\r\n")[0] for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                if self.silent:
                    await asyncio.sleep(30)
                if self.says:
                    writer.write(self.says)
                    break
                if self.wants and f"Proxy-Authorization: {self.wants}\r\n" not in head:
                    said = f"no: {head}".encode()
                    writer.write(
                        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: %d\r\n\r\n" % len(said)
                    )
                    writer.write(said)
                    break
                await (self._tunnel if head.startswith("CONNECT ") else self._pass)(head, reader, writer)
        writer.close()

    async def _tunnel(self, _: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        ways = [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        back.close()
        raise ConnectionError

    async def _pass(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, _, rest = head.partition("\r\n")
        method, url, version = first.split(" ")
        lines = [line for line in rest.split("\r\n") if line and not line.startswith("Proxy-")]
        size = next(int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length"))
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        again = "\r\n".join([f"{method} {urlsplit(url).path} {version}", *lines, "Connection: close", "", ""])
        back.write(again.encode() + await reader.readexactly(size))
        writer.write(await there.read())
        back.close()


class Secure:
    """An HTTPS server that answers every call with `SAID`."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                lines = head.lower().split("\r\n")
                await reader.readexactly(next(int(one[15:]) for one in lines if one.startswith("content-length:")))
                body = json.dumps(SAID).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
        writer.close()


@asynccontextmanager
async def standing(one: Proxy | Secure, context: ssl.SSLContext | None = None):
    """`one`, listening on this machine."""
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0, ssl=context)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()


def certificates(folder) -> ssl.SSLContext:
    """A server's context for llm.example and 127.0.0.1; `folder`/ours.pem is the authority that signed it."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    (folder / "names").write_text("subjectAltName=DNS:llm.example,IP:127.0.0.1")
    for words in (
        ["req", "-x509", *new, "-keyout", "ours.key", "-out", "ours.pem", "-subj", "/CN=ours", "-days", "2"],
        ["req", *new, "-keyout", "llm.key", "-out", "asked", "-subj", "/CN=llm"],
        ["x509", "-req", "-in", "asked", "-CA", "ours.pem", "-CAkey", "ours.key", "-CAcreateserial", "-days", "2",
         "-out", "llm.pem", "-extfile", "names"],
    ):  # fmt: skip
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "llm.pem", folder / "llm.key")
    return context


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
