"""HTTP as no client should speak it: requests drawn from a grammar of faults, sent over sockets of their own.

What is judged: the process lives; what is answered at all is answered with a declared status, and an error in OpenAI's
form; no call holds its connection longer than it may.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from hostile_place import ROUTES, Place, Seen, good

FIRST_S, NEXT_S = 3.0, 0.3  # so long the first byte of an answer, and more of it, are waited for
AT_ONCE = 128
LEFT = "the caller left"
CLOSED = "closed without an answer"
WAITING = "the rest is waited for"
METHODS = (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"get",
           b"G\x00T", b"", b"LONGMETHOD" * 50, b"PROPFIND", "GÉT".encode(), b"M-SEARCH", b"SOURCE")  # fmt: skip
TARGETS = (
    b"/",
    b"/readyz",
    b"/v1/models",
    b"/v1/models/tickets",
    b"/v1/chat/completions",
    b"/metrics",
    b"*",
    b"",
    b"//",
    b"///etc/passwd",
    b"/../../etc/passwd",
    b"/%2e%2e/%2e%2e/etc",
    b"/%00",
    b"/%ff%fe",
    b"/%",
    b"/%zz",
    b"http://evil.example/v1/models",
    b"http://127.0.0.1/v1/models",
    b"http://[::1",
    b"http://",
    b"evil:80",
    b"/v1/models?\xff\xfe=\x80",
    b"/v1/models/\xff",
    b"/a b",
    b"/\x00",
    b"/" + b"a" * 70_000,
    b"/?" + b"q" * 9_000,
    b"/v1/models/" + b"%41" * 5_000,
    b"/v1/models#frag",
    b"javascript:alert(1)",
    b"/\r",
    b"/v1/models;a=b",
    b"/v1//models",
    b"/V1/MODELS",
    b"/v1/models/",
    b"@evil.example/",
    b"\\v1\\models",
    b"/v1/models/\xe2\x80\xae",
)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3", b"http/1.1", b"HTTP/1.1 ", b"HTTP/11.1",
            b"HTTP/1.", b"HTTP/-1.1", b"", b"HTTP/1.1\x00", b"HTTX/1.1", b"HTTP/9999999999.1")  # fmt: skip
HOSTS = (
    b"127.0.0.1",
    b"localhost",
    b"evil.example",
    b"",
    b"[::1",
    b"[::1]:99999",
    b"127.0.0.1@evil.example",
    b"\xff",
    b"127.0.0.1, evil.example",
    b"a" * 9_000,
    b"127.0.0.1:80:80",
    b"127.0.0.1\t",
    b"[evil",
    b"%00",
    b"0",
    b"2130706433",
)
LINES = (
    b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: +5", b"Content-Length: 5, 5",
    b"Content-Length: 0x10", b"Content-Length: 99999999999999999999999", b"Content-Length: 1e3", b"Content-Length:",
    b"Content-Length: \xd9\xa1",
    b"Content-Length : 5", b"Content-Length: 5\r\nContent-Length: 6", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4",
    b"Transfer-Encoding: gzip, chunked", b"Transfer_Encoding: chunked", b"Transfer-Encoding:\r\n chunked",
    b"Connection: close", b"Connection: upgrade", b"Connection: keep-alive, close, \x00", b"Upgrade: h2c",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==",
    b"Connection: Upgrade\r\nUpgrade: websocket", b"Expect: 100-continue", b"Expect: 200-ok", b"X: a\r\n b", b" X: y",
    b"X:\x00", b"X\x00: y", b": y", b"X", b"X: \xff\xfe\xfd", b"X: " + b"y" * 70_000, b"X" * 70_000 + b": y", b"X:\ry",
    b"X: y\nZ: w", b"\r", b"Host: evil.example", b"Range: bytes=" + b"0-," * 2_000, b"Accept: " + b"a/b," * 5_000,
    b"Accept: application/openmetrics-text; version=x.y", b"Accept: text/plain; version=9.9.9; escaping=zz",
    b"Accept: application/openmetrics-text; version=1\xb2.0; escaping=allow-utf-8", b"Cookie: " + b"a=b;" * 3_000,
    b"Authorization: Bearer", b"Authorization: Bearer \xff", b"Authorization: Basic Og==", b"Authorization:",
    b"Authorization: Bearer insource_" + b"A" * 60_000, b"Traceparent: 00-" + b"f" * 9_000, b"Content-Encoding: gzip",
    b"Origin: null", b"Origin: http://[", b"Origin: https://evil.example", b"X-Forwarded-Host: evil.example",
    b"Content-Type: \xff", b"Content-Type: multipart/form-data", b"\xef\xbb\xbfX: y", b"X\xc3\xa9: y", b"Te: trailers",
    b"\r\n".join(b"X%d: y" % i for i in range(3_000)), b"Trailer: Content-Length", b"Proxy-Connection: keep-alive",
)  # fmt: skip
CHUNKS = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nx",
    b"-1\r\nx\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"e" * 70_000 + b"\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhel",
    b"zz\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"00000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"0\r\n" + b"T: u\r\n" * 5_000 + b"\r\n",
    b"1\r\n{\r\n" * 500 + b"0\r\n\r\n",
)
SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def call(method: bytes, target: bytes, headers: Mapping[str, bytes], body: bytes | None = None) -> bytes:
    """A request that closes its connection, with the headers as they are given."""
    lines = [method + b" " + target + b" HTTP/1.1", b"connection: close"]
    lines += [name.encode() + b": " + value for name, value in headers.items()]
    lines += [b"content-length: %d" % len(body)] if body is not None else []
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def drawn(dice: random.Random, key: str) -> bytes:
    """One request of the grammar: a sound one with one to three faults, or something else altogether."""
    return dice.choices(KINDS, WEIGHTS)[0](dice, key)


def _faulty(dice: random.Random, key: str) -> bytes:
    """A request line, headers and a body, some of them drawn from the tables of faults."""
    faults = {dice.randrange(5) for _ in range(dice.randint(1, 3))}
    post = dice.random() < 0.5
    method = dice.choice(METHODS) if 0 in faults else b"POST" if post else b"GET"
    sound = dice.choice(ROUTES).encode() if post else b"/v1/models"
    target = dice.choice(TARGETS) if 1 in faults else sound
    version = dice.choice(VERSIONS) if 2 in faults else b"HTTP/1.1"
    lines = [b"Host: " + (dice.choice(HOSTS) if 3 in faults else b"127.0.0.1")] * (dice.random() > 0.03)
    lines += [b"Authorization: Bearer " + key.encode()] * (dice.random() < 0.7)
    body = json.dumps(good(dice.choice(("tickets", "hub", "none")))).encode() if post else b""
    lines += [b"Content-Length: %d" % len(body)] if post else []
    lines += [dice.choice(LINES) for _ in range(dice.randint(1, 2) if 4 in faults else 0)]
    dice.shuffle(lines)
    end = dice.choices((b"\r\n", b"\n", b"\r"), (0.9, 0.07, 0.03))[0]
    return end.join([b" ".join((method, target, version)), *lines, b"", b""]) + body


def _smuggled(dice: random.Random, key: str) -> bytes:
    """Two lengths that say different things, with a second request where they disagree."""
    lengths = [b"Content-Length: %d" % dice.choice((0, 4, 5, len(SMUGGLED), 99)), dice.choice(LINES[11:21])]
    lengths += [dice.choice(LINES[:11])] * (dice.random() < 0.3)
    dice.shuffle(lengths)
    head = [
        b"POST /v1/chat/completions HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Authorization: Bearer " + key.encode(),
        *lengths,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + dice.choice((b"0\r\n\r\n", b"5c\r\n", b"")) + SMUGGLED


def _chunked(dice: random.Random, key: str) -> bytes:
    """Chunks that lie about their length."""
    head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer %s\r\n\r\n"
    return head % (dice.choice(ROUTES).encode(), key.encode()) + dice.choice(CHUNKS)


def _cut(dice: random.Random, key: str) -> bytes:
    """A sound request that ends early."""
    whole = call(b"POST", b"/v1/chat/completions", _keyed(key), json.dumps(good("tickets")).encode())
    return whole[: dice.randrange(1, len(whole))]


def _pipelined(dice: random.Random, key: str) -> bytes:
    """Many requests at once, the last of them perhaps none."""
    one = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n" % key.encode()
    return one * dice.randint(2, 40) + dice.choice((b"", b"\x00\x01", one[:20], PREFACE, _faulty(dice, key)))


def _noise(dice: random.Random, _: str) -> bytes:
    """No HTTP."""
    drawn_bytes = dice.randbytes(dice.randint(1, 4_000))
    return dice.choice((drawn_bytes, b"\r\n" * dice.randint(1, 9_000), *NOISE))


def _flipped(dice: random.Random, key: str) -> bytes:
    """A sound request with some bytes changed."""
    whole = bytearray(call(b"POST", b"/v1/completions", _keyed(key), json.dumps(good("hub", 1)).encode()))
    for _ in range(dice.randint(1, 6)):
        whole[dice.randrange(len(whole))] = dice.randrange(256)
    return bytes(whole)


NOISE = (
    PREFACE, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 5_000, b"GET /readyz\r\n", b"SSH-2.0-x\r\n",
)  # fmt: skip
Kind = Callable[[random.Random, str], bytes]
KINDS: tuple[Kind, ...] = (_faulty, _smuggled, _chunked, _cut, _pipelined, _noise, _flipped)
WEIGHTS = (50, 12, 8, 8, 7, 7, 8)


def _keyed(key: str) -> dict[str, bytes]:
    return {"Host": b"127.0.0.1", "Authorization": b"Bearer " + key.encode()}


async def judged(place: Place, sent: bytes, seen: Seen, *, leaves: bool = False) -> None:
    """Sends the bytes as they are, and judges every answer that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    try:
        with suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
        said, why = (b"", LEFT) if leaves else await heard(reader)
    finally:
        writer.close()
        with suppress(ConnectionError, OSError):
            await writer.wait_closed()
    answers = split(said, sent)
    if not answers:
        seen.calls += 1
        seen.statuses[why] += 1
    for status, body, bare in answers:
        seen.answer(status, body, sent, bare=bare)


async def heard(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """What comes back until nothing more does, and why there may be nothing."""
    said = b""
    try:
        while piece := await asyncio.wait_for(reader.read(1 << 16), NEXT_S if said else FIRST_S):
            said += piece
    except TimeoutError:
        return said, WAITING
    except ConnectionError:
        pass
    return said, CLOSED


async def whole(reader: asyncio.StreamReader) -> None:
    """Returns once the other side ends, or cuts, the connection."""
    with suppress(ConnectionError):
        while await reader.read(1 << 16):
            pass


def split(said: bytes, asked: bytes) -> list[tuple[int, bytes, bool]]:
    """The answers in what came back: status, body, and whether it was to HEAD, which has none."""
    found = []
    bare = asked.startswith(b"HEAD ")
    while said.startswith(b"HTTP/1.1 "):
        head, _, rest = said.partition(b"\r\n\r\n")
        status = int(head[9:12])
        said = rest
        if status == 100:
            continue
        length = 0
        lines = head.lower().split(b"\r\n")
        for line in lines:
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        body = b"" if bare else rest[:length]
        said = rest if bare else rest[length:]
        found.append((status, body, bare))
        if b"transfer-encoding: chunked" in lines:
            break  # an event stream: the rest is its
    return found


async def raw(place: Place, count: int, seed: int) -> Seen:
    """So many requests of the grammar, one in ten from a caller that does not wait."""
    seen, dice = Seen(), random.Random(seed)  # noqa: S311 - no secret
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(data: bytes, *, leaves: bool) -> None:
        async with gate:
            await judged(place, data, seen, leaves=leaves)

    drawn_ones = [(drawn(dice, place.key), dice.random() < 0.1) for _ in range(count)]
    await asyncio.gather(*(one(data, leaves=leaves) for data, leaves in drawn_ones))
    return seen


BODY = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 99999\r\n\r\n"
SLOW: dict[str, tuple[bytes, bytes]] = {
    "nothing is said": (b"", b""),
    "a head, a header at a time": (b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X: y\r\n"),
    "a body, a byte at a time": (BODY, b" "),
    "a head without an end": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"y" * 65_536),
    "a request line without an end": (b"GET /", b"y" * 65_536),
}  # fmt: skip


async def slow(place: Place, callers: int, most_s: float) -> dict[str, float]:
    """Callers that never end what they say: by kind, the seconds until the last of them was sent away.

    One who still is connected after `most_s` counts as infinity.
    """
    found = {}
    for name, (first, then) in SLOW.items():
        first = first.replace(b"KEY", place.key.encode())
        took = await asyncio.gather(*(_held(place.port, first, then, most_s) for _ in range(callers)))
        found[name] = max(took)
    return found


async def _held(port: int, first: bytes, then: bytes, most_s: float) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    gone = asyncio.create_task(whole(reader))
    try:
        with suppress(ConnectionError):
            writer.write(first)
            while not gone.done() and time.monotonic() - began < most_s:
                writer.write(then)
                await writer.drain()
                await asyncio.wait({gone}, timeout=1.0 if len(then) < 100 else 0.01)
        await asyncio.wait({gone}, timeout=1.0)
        return time.monotonic() - began if gone.done() else float("inf")
    finally:
        gone.cancel()
        writer.close()
        with suppress(ConnectionError, OSError):
            await writer.wait_closed()
