"""Words passed on: a caller that leaves is noticed whenever it does."""

import asyncio

import pytest

from insource.journeys.answer import Path, Tier, discard
from insource.journeys.relay import LEFT, relay
from insource.nouns import Message, Request


class Halting:
    """Says a word when told to, and nothing more."""

    name = "halting"

    def __init__(self):
        self.word, self.closed = asyncio.Event(), False

    async def stream(self, request):
        try:
            await self.word.wait()
            yield "a word"
            await asyncio.sleep(60)
        finally:
            self.closed = True


@pytest.mark.parametrize("ticks", range(6))
async def test_who_leaves_in_the_moment_a_word_comes_is_noticed(ticks):
    engine, kept = Halting(), []

    async def keep(record, pending):
        await discard(record, pending)
        kept.append(record)

    async def listen():
        request = Request(id="1", messages=(Message(role="user", content="x"),), deadline=60.0)
        async for _ in relay(request, Path(task=None, tiers=(Tier(engine),)), keep):
            pass

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.01)
    engine.word.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    listening.cancel()
    async with asyncio.timeout(2):
        await asyncio.gather(listening, return_exceptions=True)
        while not kept:
            await asyncio.sleep(0.01)
    assert engine.closed
    assert (kept[0].outcome, kept[0].attempts[0].decision.reason) == ("failed", LEFT)
