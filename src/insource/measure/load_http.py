"""One streamed chat call to a gateway over HTTP, with the moment of its first token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from urllib.parse import urlsplit

import aiohttp
import msgspec

from insource.errors import Invalid
from insource.measure.load import LONGEST_S, Reply, Send
from insource.nouns import JsonObject, to_json

DONE = b"[DONE]"


@asynccontextmanager
async def over_http(url: str, model: str, key: str) -> AsyncIterator[Send]:
    """A way to send that calls `model` at `url`, with `key` where there is one. Raises `Invalid` for no address."""
    place = _endpoint(url)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    connector, patience = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=LONGEST_S)
    async with aiohttp.ClientSession(connector=connector, timeout=patience, headers=headers) as session:

        async def send(text: str) -> Reply:
            body = {
                "model": model,
                "messages": [{"role": "user", "content": text}],
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            try:
                async with session.post(place, data=to_json(body), allow_redirects=False) as answer:
                    return await (_heard(answer) if answer.status == 200 else _refused(answer))
            except (aiohttp.ClientError, ConnectionError, OSError):
                return Reply(error="no_connection")
            except TimeoutError:
                return Reply(error="timeout")

        yield send


async def _heard(answer: aiohttp.ClientResponse) -> Reply:
    first, pieces, tokens, whole = None, 0, 0, False
    async for line in answer.content:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == DONE:
            whole = True
            break
        event = _object(data)
        if "error" in event:
            return Reply(error=_code(event))
        if any((choice.get("delta") or {}).get("content") for choice in event.get("choices") or []):
            first, pieces = first or perf_counter(), pieces + 1
        tokens = (event.get("usage") or {}).get("completion_tokens") or tokens
    return Reply(first_at=first, tokens=tokens if pieces > 1 else pieces) if whole else Reply(error="broken_off")


async def _refused(answer: aiohttp.ClientResponse) -> Reply:
    return Reply(error=_code(_object(await answer.read())) or f"http_{answer.status}")


def _code(event: JsonObject) -> str:
    """The code of an error, where it is one."""
    error = event.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and code.isidentifier() else ""


def _object(data: bytes) -> JsonObject:
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine:
        raise Invalid(f"{url!r} is no address of a gateway", hint="--url http://127.0.0.1:8080")
    return url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
