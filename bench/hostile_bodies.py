"""Hostile bodies and values: the JSON parsing suite, naughty strings in every place, and sound calls broken at random.

The suite is Nicolas Seriot's JSONTestSuite, the strings are Max Woolf's Big List of Naughty Strings; both are read from
the folder of data, and none of them is ours.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

import hostile_raw
from hostile_place import ROUTES, Place, Seen, good, session

CANARY = "zqx7canary"
AT_ONCE = 16
HEADERS = (
    "authorization", "traceparent", "origin", "x-request-id", "accept", "content-type", "user-agent", "cookie",
    "openai-organization", "x-forwarded-for", "host", "accept-encoding", "content-encoding",
)  # fmt: skip
PIECES = (
    b"null", b"[]", b"{}", b'"', b"\\", b"\\ud800",
    b'"\\ud800"', b'["\\udfff", "x"]', b"\\u0000", b"\x00", b"\xff", b"\xed\xa0\x80", b"1e999", b"-0",
    b"NaN", b"Infinity", b"-1", b"9" * 400, b"[" * 600, b'{"a":' * 600, b",", b":", b"}", b"]", b"true", b'"auto"',
    b'"tickets@1.0.0"', b'"tickets@"', b'"@"', b"\xef\xbb\xbf", b"/*", b"\r\n", b"0.1e-400", b'"\\u202e"',
)  # fmt: skip
FULL: dict[str, Any] = {
    "model": "hub", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "n": 2, "seed": 7,
    "stream": False, "stream_options": {"include_usage": True}, "max_tokens": 5, "temperature": 0.5, "stop": ["x"],
    "logprobs": True, "top_logprobs": 3, "response_format": {"type": "text"}, "tool_choice": "auto",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
}  # fmt: skip

Post = Callable[[str, bytes], Awaitable[None]]


async def all_of(calls: Iterable[Awaitable[None]]) -> None:
    """Makes the calls, some at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Awaitable[None]) -> None:
        async with gate:
            await call

    await asyncio.gather(*(one(call) for call in calls))


async def posted(http: aiohttp.ClientSession, url: str, body: bytes, seen: Seen) -> None:
    """One body, posted and judged."""
    try:
        async with http.post(url, data=body, headers={"content-type": "application/json"}) as answer:
            seen.answer(answer.status, await answer.read(), body)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        seen.silence(type(error).__name__, body)


async def json_suite(place: Place, data: Path, most: int) -> Seen:
    """Every file of the suite as a body, as an extra field of a sound body, and as the value of a field, by route."""
    seen = Seen()
    files = sorted((data / "json_test_suite").rglob("*.json"))[:most]
    async with session(place) as http:
        bodies = [
            (route, body) for file in files for route in range(3) for body in suite_bodies(file.read_bytes(), route)
        ]
        await all_of(posted(http, place.url + ROUTES[route], body, seen) for route, body in bodies)
    return seen


def suite_bodies(text: bytes, route: int) -> Iterator[bytes]:
    """The text alone, beside what is sound, in the place of what is said, and in the place of the model."""
    yield text
    sound = json.dumps(good("hub", route)).encode()
    yield sound[:-1] + b',"extra":' + text + b"}"
    mark = json.dumps("the words").encode()
    yield json.dumps(good("tickets", route, "the words")).encode().replace(mark, text)
    yield sound.replace(b'"hub"', text)


async def broken_bodies(place: Place, count: int, seed: int) -> Seen:
    """Sound bodies in which something was put in, taken away, said twice or swapped."""
    seen, dice = Seen(), random.Random(seed)  # noqa: S311 - no secret
    sound = [json.dumps(good(model, route)).encode() for model in ("tickets", "hub", "far") for route in range(3)]
    sound.append(json.dumps(FULL).encode())
    async with session(place) as http:
        calls = []
        for _ in range(count):
            body = broken(dice.choice(sound), dice)
            calls.append(posted(http, place.url + dice.choice(ROUTES), body, seen))
        await all_of(calls)
    return seen


def broken(body: bytes, dice: random.Random) -> bytes:
    """A body after one to three changes."""
    for _ in range(dice.randint(1, 3)):
        a, b = sorted(dice.randrange(len(body) + 1) for _ in range(2))
        kind = dice.randrange(5)
        piece = dice.choice(PIECES)
        body = (
            body[:a] + piece + body[a:],
            body[:a] + piece + body[min(b, a + 12) :],
            body[:a] + body[b:],
            body[:b] + body[a:b] + body[b:],
            value_swapped(body, piece, dice),
        )[kind] or b" "
    return body


def value_swapped(body: bytes, piece: bytes, dice: random.Random) -> bytes:
    """The body with `piece` in the place of one value of its object; as it was where it is none."""
    try:
        said = json.loads(body)
        name = dice.choice(list(said))
    except (ValueError, TypeError, IndexError, RecursionError):
        return body
    said[name] = "the piece"
    return json.dumps(said).encode().replace(b'"the piece"', piece)


async def naughty(place: Place, data: Path, most: int) -> Seen:
    """Every naughty string as content, model, role, name, stop, tool, as a header's value and as an id in a path."""
    seen = Seen()
    texts = naughty_strings(data)[:most]
    async with session(place) as http:
        bodies = [(route, body) for text in texts for said in (text, text + CANARY) for route, body in said_in(said)]
        await all_of(posted(http, place.url + ROUTES[route], body, seen) for route, body in bodies)
    marked = [text + CANARY for text in texts]
    await all_of(hostile_raw.judged(place, sent, seen) for text in marked for sent in in_heads(place, text))
    return seen


def naughty_strings(data: Path) -> list[str]:
    """The list. Raises `FileNotFoundError`."""
    texts: list[str] = json.loads((data / "naughty_strings" / "blns.json").read_text("utf-8"))
    return texts


def said_in(text: str) -> Iterator[tuple[int, bytes]]:
    """Bodies with the text in every place of a call that takes one, each with its route."""
    for model in ("tickets", "hub"):
        yield 0, json.dumps(good(model, 0, text)).encode()
        yield 1, json.dumps(good(model, 1, text)).encode()
    yield 0, json.dumps(good("far", 0, text) | {"stream": True}).encode()
    yield 2, json.dumps(good("far", 2, text)).encode()
    for route in range(3):
        yield route, json.dumps(good(text, route)).encode()
    tool = {"type": "function", "function": {"name": text, "description": text, "parameters": {"type": "object"}}}
    for more in ({"tools": [tool]}, {"stop": text}, {"tool_choice": text}, {"response_format": {"type": text}}):
        yield 0, json.dumps(good("far") | more).encode()
    for message in ({"role": text, "content": "x"}, {"role": "user", "name": text, "content": "x"}):
        yield 0, json.dumps({"model": "hub", "messages": [message]}).encode()


def in_heads(place: Place, text: str) -> Iterator[bytes]:
    """Whole calls with the text in a header or in the path, as raw bytes."""
    raw = text.encode("utf-8", "surrogatepass")
    body = json.dumps(good("hub")).encode()
    for name in HEADERS:
        given = {"host": b"127.0.0.1", "authorization": b"Bearer " + place.key.encode()} | {name: raw}
        yield hostile_raw.call(b"POST", b"/v1/chat/completions", given, body)
    keyed = {"host": b"127.0.0.1", "authorization": b"Bearer " + place.key.encode()}
    for path in (quote(text, safe="").encode(), raw, quote(text, safe="/?#%").encode()):
        yield hostile_raw.call(b"GET", b"/v1/models/" + path, keyed)
    yield hostile_raw.call(b"GET", b"/v1/nothing/" + quote(text).encode() + b"?q=" + raw, keyed)
    yield hostile_raw.call(b"GET", b"/metrics", keyed | {"accept": raw})
