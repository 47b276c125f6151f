"""The demo's gateway and its caller: `insource serve` in a process of its own, called by the official client.

Without the `openai` package the same calls are made as plain HTTP; the gateway cannot tell.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import aiohttp

from insource.engines.outward import to_itself
from insource.engines.outward_aiohttp import session
from insource.errors import EngineDown
from insource.nouns import Example, JsonObject, Noun, from_json

PATIENCE_S = 120.0
MOST = 24
OUTCOMES = {"answered", "review"}
Said = tuple[str, Mapping[str, str]]
Ask = Callable[[str], Awaitable[Said]]


class Call(Noun, frozen=True, kw_only=True):
    """One report sent to the gateway: what it answered, how sure it was, and what was decided.

    `filed` is the row's own label, which the gateway did not see.
    """

    input: str
    value: JsonObject
    filed: JsonObject
    confidence: float
    decision: str
    record: str


class _Ready(Noun, frozen=True, kw_only=True):
    """What `insource serve --json` says once it takes calls."""

    url: str
    models: list[str]


async def serve_and_call(home: Path, task: str, rows: Sequence[Example]) -> list[Call]:
    """Serves the workspace at `home` and sends it `rows` until both outcomes were seen, at most `MOST`.

    Raises `EngineDown` when the gateway does not come up; it is always ended.
    """
    calls: list[Call] = []
    async with _gateway(home) as url, _client(url, task) as ask:
        for row in rows[:MOST]:
            content, headers = await ask(row.input)
            calls.append(
                Call(
                    input=row.input,
                    value=from_json(content, dict[str, str]),
                    filed=row.target,
                    confidence=float(headers["x-insource-confidence"] or 0),
                    decision=headers["x-insource-decision"],
                    record=headers["x-insource-record"],
                )
            )
            if {call.decision for call in calls} >= OUTCOMES:
                break
    return calls


def official() -> bool:
    """Whether the `openai` package is installed."""
    return find_spec("openai") is not None


@asynccontextmanager
async def _gateway(home: Path) -> AsyncIterator[str]:
    """The base URL of `insource serve` on a free port of this machine; its words go to serve.log."""
    words = ("-m", "insource", "-C", str(home), "serve", "--port", "0", "--json")
    with (home / "serve.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=log
        )
        try:
            yield await _ready(process, home)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _ready(process: asyncio.subprocess.Process, home: Path) -> str:
    line = b""
    if process.stdout is not None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
    if not line:
        raise EngineDown("the gateway did not come up", hint=f"{home / 'serve.log'} says why")
    return from_json(line, _Ready).url


@asynccontextmanager
async def _client(url: str, task: str) -> AsyncIterator[Ask]:
    if official():
        from openai import AsyncOpenAI

        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=PATIENCE_S) as client:

            async def ask(text: str) -> Said:
                raw = await client.chat.completions.with_raw_response.create(
                    model=task, messages=[{"role": "user", "content": text}]
                )
                return raw.parse().choices[0].message.content or "", raw.headers

            yield ask
        return
    patience = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with session(to_itself("the demo's calls"), url, timeout=patience) as opened:

        async def post(text: str) -> Said:
            body = {"model": task, "messages": [{"role": "user", "content": text}]}
            where = f"{url}/v1/chat/completions"
            async with opened.post(where, json=body, allow_redirects=False) as answer:
                said = await answer.json()
                return said["choices"][0]["message"]["content"], answer.headers

        yield post
