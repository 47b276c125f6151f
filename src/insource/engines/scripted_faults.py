"""How an HTTP answer goes wrong, byte by byte: a table of faults, each a rewriting of a sound answer. Pure.

    PLAYS["hang"](sound, "first")   the head, the first piece of the body, then nothing more

A fault happens at a place: `before` any byte of the answer, after the `first` piece of its body, in the `middle` of it,
or `late`, when only the last piece is missing. What it yields is bytes to write, seconds to wait, or one of `RESET`,
`CLOSE` and `HANG`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

At = Literal["before", "first", "middle", "late"]
Step = bytes | float | Literal["reset", "close", "hang"]
RESET: Step = "reset"
CLOSE: Step = "close"
HANG: Step = "hang"
LINE = b"\r\n"
END = b"0\r\n\r\n"
SLOW_S = 0.05  # between two bytes of a drip
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
NOISE = b"\x00\xff\xfe\x80 not what was agreed \x1b[31m"


@dataclass(frozen=True)
class Sound:
    """A sound answer: its content type and the pieces of its body; `error` and `end` are pieces that a stream may have.

    `streamed` says whether the pieces are events (or lines) or parts of one JSON text.
    """

    kind: str
    pieces: tuple[bytes, ...]
    error: bytes
    end: bytes
    streamed: bool

    def until(self, at: At) -> tuple[bytes, ...]:
        """The pieces that are sent before the fault."""
        whole = len(self.pieces)
        return self.pieces[: {"before": 0, "first": 1, "middle": whole // 2, "late": whole - 1}[at]]

    def after(self, at: At) -> tuple[bytes, ...]:
        """The others."""
        return self.pieces[len(self.until(at)) :]

    def event(self, data: bytes) -> bytes:
        """`data` as a piece of this answer."""
        return b"data: " + data + b"\n\n" if self.streamed and self.end else data + b"\n"


Play = Callable[[Sound, At], Iterator[Step]]


def head(kind: str, *headers: str, status: str = "200 OK") -> bytes:
    """The first lines of an answer."""
    return "\r\n".join((f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, "", "")).encode("latin-1")


def chunked(sound: Sound, *headers: str) -> bytes:
    """The first lines of an answer in chunks."""
    return head(sound.kind, "Transfer-Encoding: chunked", *headers)


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return f"{len(data):x}".encode() + LINE + data + LINE


def _sent(sound: Sound, at: At) -> Iterator[Step]:
    """What is sent before the fault; nothing, not even a head, where it is `before`."""
    if at != "before":
        yield chunked(sound)
        for piece in sound.until(at):
            yield chunk(piece)


def _then(step: Step) -> Play:
    def play(sound: Sound, at: At) -> Iterator[Step]:
        yield from _sent(sound, at)
        yield step

    return play


def _between(*data: Callable[[Sound], bytes]) -> Play:
    """These bytes as pieces of the body, and the rest of it after them."""

    def play(sound: Sound, at: At) -> Iterator[Step]:
        yield chunked(sound)
        for piece in (*sound.until(at), *[one(sound) for one in data], *sound.after(at)):
            yield chunk(piece)
        yield END

    return play


def _instead(data: Callable[[Sound], bytes]) -> Play:
    """These bytes instead of the rest of the body, which ends in good order."""

    def play(sound: Sound, at: At) -> Iterator[Step]:
        yield chunked(sound)
        for piece in sound.until(at):
            yield chunk(piece)
        yield chunk(data(sound)) if data(sound) else b""
        yield END

    return play


def _drip(sound: Sound, at: At) -> Iterator[Step]:
    yield from _sent(sound, at)
    rest = b"".join(chunk(piece) for piece in sound.after(at)) + END
    for byte in (b"" if at != "before" else chunked(sound)) + rest:
        yield bytes([byte])
        yield SLOW_S


def _chatter(sound: Sound, at: At) -> Iterator[Step]:
    """Signs of life without end, and no answer."""
    yield from _sent(sound, at)
    note = chunk(b": still here\n\n" if sound.streamed and sound.end else b" \n")
    for piece in repeat(b"HTTP/1.1 102 Processing\r\n\r\n" if at == "before" else note):
        yield piece
        yield SLOW_S


def _noise(sound: Sound, at: At) -> Iterator[Step]:
    if at == "before":
        yield NOISE + LINE
        yield CLOSE
    else:
        yield from _between(lambda _: NOISE)(sound, at)


def _bad_chunk(sound: Sound, at: At) -> Iterator[Step]:
    yield chunked(sound)
    yield from (chunk(piece) for piece in sound.until(at))
    yield b"zz" + LINE + b"".join(sound.after(at)) + LINE + END
    yield CLOSE


def _short_chunk(sound: Sound, at: At) -> Iterator[Step]:
    rest = b"".join(sound.after(at))
    yield chunked(sound)
    yield from (chunk(piece) for piece in sound.until(at))
    yield f"{len(rest) + 100:x}".encode() + LINE + rest
    yield CLOSE


def _length_too_long(sound: Sound, at: At) -> Iterator[Step]:
    yield head(sound.kind, f"Content-Length: {len(b''.join(sound.pieces)) + 50}")
    yield b"".join(sound.until(at))
    yield CLOSE


def _length_too_short(sound: Sound, at: At) -> Iterator[Step]:
    """The body is longer than it says: the rest of it lies on the connection, before the next answer."""
    yield head(sound.kind, f"Content-Length: {len(b''.join(sound.until(at)))}")
    yield b"".join(sound.pieces)


def _endless(sound: Sound, at: At) -> Iterator[Step]:
    yield chunked(sound)
    yield from (chunk(piece) for piece in sound.until(at))
    yield from repeat(chunk(b"x" * (1 << 18)))


def _corrupt_gzip(sound: Sound, at: At) -> Iterator[Step]:
    yield chunked(sound, "Content-Encoding: gzip")
    yield from (chunk(piece) for piece in sound.until(at) or (b"\x1f\x8b\x08",))
    yield END


def _twice(sound: Sound, at: At) -> Iterator[Step]:
    """The last piece before the fault comes again; before the first, the whole answer follows itself."""
    if at == "before":
        once = chunked(sound) + b"".join(map(chunk, sound.pieces)) + END
        yield once + once
    else:
        yield from _between(lambda s: s.until(at)[-1])(sound, at)


def _pauses(sound: Sound, at: At) -> Iterator[Step]:
    """Nothing is wrong but a short rest."""
    yield from _sent(sound, at)
    yield 2 * SLOW_S
    yield chunked(sound) if at == "before" else b""
    yield from (chunk(piece) for piece in sound.after(at))
    yield END


def _crumbs(sound: Sound, at: At) -> Iterator[Step]:
    """Nothing is wrong: one byte at a time, from there on."""
    yield from _sent(sound, at)
    rest = b"".join(chunk(piece) for piece in sound.after(at)) + END
    for byte in (chunked(sound) if at == "before" else b"") + rest:
        yield bytes([byte])


def _status(line: str, *headers: str, body: bytes = HTML, kind: str = "text/html") -> Play:
    def play(_: Sound, __: At) -> Iterator[Step]:
        yield head(kind, f"Content-Length: {len(body)}", *headers, status=line) + body

    return play


def _raw(data: bytes) -> Play:
    def play(_: Sound, __: At) -> Iterator[Step]:
        yield data
        yield CLOSE

    return play


OTHER = (b'{"hello": "world"}', b"[]", b'"choices"', b'{"choices": 5}', b'{"choices": [{"delta": 7, "message": 7}]}')
DEEP = b'{"choices": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
WRONG_TEXT = b'{"choices": [{"index": 0, "delta": {"content": 7}, "message": {"content": 7}}]}'

# at any place
PLAYS: dict[str, Play] = {
    "reset": _then(RESET),
    "close": _then(CLOSE),
    "hang": _then(HANG),
    "drip": _drip,
    "chatter": _chatter,
    "noise": _noise,
    "bad chunk": _bad_chunk,
    "short chunk": _short_chunk,
    "length too long": _length_too_long,
    "length too short": _length_too_short,
    "ends in order": _instead(lambda _: b""),
    "end mark early": _instead(lambda sound: sound.end or b""),
    "error event": _instead(lambda sound: sound.error),
    "error event, then the rest": _between(lambda sound: sound.error),
    "html": _instead(lambda _: HTML),
    "cut json": _between(lambda sound: sound.event(b'{"id": "x", "choi')),
    "another shape": _between(lambda sound: sound.event(OTHER[0])),
    "a list": _between(lambda sound: sound.event(OTHER[1])),
    "a text": _between(lambda sound: sound.event(OTHER[2])),
    "choices of another type": _between(lambda sound: sound.event(OTHER[3])),
    "a text that is a number": _between(lambda sound: sound.event(WRONG_TEXT)),
    "deep json": _between(lambda sound: sound.event(DEEP)),
    "giant piece": _between(lambda sound: sound.event(b'{"x": "' + b"x" * 5_000_000 + b'"}')),
    "endless": _endless,
    "corrupt gzip": _corrupt_gzip,
    "twice": _twice,
    "a short rest": _pauses,
    "byte by byte": _crumbs,
}
# instead of the whole answer
ANSWERS: dict[str, Play] = {
    "empty": _status("200 OK", body=b"", kind="application/json"),
    "no content": _raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "bad request": _status("400 Bad Request"),
    "no key": _status("401 Unauthorized"),
    "not found": _status("404 Not Found"),
    "late": _status("408 Request Timeout"),
    "busy": _status("429 Too Many Requests"),
    "busy, come back": _status("429 Too Many Requests", "Retry-After: 1"),
    "busy, come back tomorrow": _status("429 Too Many Requests", "Retry-After: 86400"),
    "broken": _status("500 Internal Server Error"),
    "bad gateway": _status("502 Bad Gateway"),
    "unavailable": _status("503 Service Unavailable", "Retry-After: never"),
    "overloaded": _status("529 Overloaded", body=b"", kind="text/plain"),
    "moved": _status("307 Temporary Redirect", "Location: http://127.0.0.1:9/v1/chat/completions"),
    "moved nowhere": _status("302 Found"),
    "other protocol": _raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "no status": _raw(b"HTTP/1.1 abc\r\n\r\n"),
    "giant head": _raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n"),
    "bare newlines": _raw(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}"),
    "switching": _raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
    "nothing at all": _raw(b""),
}
PLAYS |= ANSWERS
PLACES: tuple[At, ...] = ("before", "first", "middle", "late")
HARMLESS = ("a short rest", "byte by byte")
