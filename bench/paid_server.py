"""A provider that sends a bill: answers over the OpenAI API, counts what it would charge, and has bad days on purpose.

    async with PaidServer(label_of, Day(busy=0.1, broken=0.1)) as server:
        settings = EngineSettings(kind="openai", base_url=server.base_url, …)

It charges for every call that it began to answer, be it one that broke off or came too late, and nothing for one that
it turned away. With `greedy` it charges the most that can be: a token for each byte, and the whole of `max_tokens`.
"""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True)
class Day:
    """How often, of all calls, it is busy (429), broken (500), late or talks garbage; the rest is answered."""

    busy: float = 0.0
    broken: float = 0.0
    late: float = 0.0
    garbage: float = 0.0
    late_s: float = 30.0
    takes_s: float = 0.0


class PaidServer:
    """The provider, at `base_url` while it is entered. `billed` is US dollars, `answered` counts inputs by text."""

    def __init__(
        self, label_of: Callable[[str], str], day: Day | None = None, *, prices: tuple[float, float] = (2.0, 8.0),
        greedy: bool = False, seed: int = 0,
    ) -> None:  # fmt: skip
        self.billed, self.calls, self.answered = 0.0, 0, dict[str, int]()
        self.day = day or Day()
        self._label_of, self._prices, self._greedy = label_of, prices, greedy
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        """What goes into `base_url` of insource.toml."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> "PaidServer":
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, shutdown_timeout=0.1).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.calls += 1
        fate, day = self._chance.random(), self.day
        if fate < day.busy:
            return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0"})
        text = input_of(asked)
        said = self._label_of(text)
        usage = self._usage(asked, said)
        self.billed += (usage[0] * self._prices[0] + usage[1] * self._prices[1]) / 1_000_000
        if fate < day.busy + day.broken:
            return web.json_response({"error": {"message": "broken"}}, status=500)
        if fate < day.busy + day.broken + day.late:
            await asyncio.sleep(day.late_s)
        elif fate < day.busy + day.broken + day.late + day.garbage:
            said = "sandwich, or perhaps not"
        else:
            self.answered[text] = self.answered.get(text, 0) + 1
        await asyncio.sleep(day.takes_s)
        return web.json_response(_answer(said, usage))

    def _usage(self, asked: dict[str, object], said: str) -> tuple[int, int]:
        size = len(json.dumps([asked["messages"], asked.get("response_format")], ensure_ascii=False).encode())
        if self._greedy:
            return size, int(str(asked.get("max_tokens") or asked.get("max_completion_tokens") or 4096))
        return max(1, size // 4), max(1, len(said) // 4)


def input_of(asked: dict[str, object]) -> str:
    """The text that a call is about: of the last user message that has the marks of an input."""
    messages = asked["messages"]
    contents = (
        [str(turn["content"]) for turn in messages if turn["role"] == "user"] if isinstance(messages, list) else []
    )
    whole = next(content for content in reversed(contents) if "<input>" in content)
    return whole.partition("<input>\n")[2].rpartition("\n</input>")[0]


def _answer(said: str, usage: tuple[int, int]) -> dict[str, object]:
    message = {"role": "assistant", "content": said}
    return {
        "id": "1", "object": "chat.completion", "created": 1, "model": "paid",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)},
    }  # fmt: skip
