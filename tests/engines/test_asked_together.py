"""Several calls at the same time: what they come to, and that who is told to end does."""

import asyncio

import pytest

from insource.engines.together import together
from insource.errors import EngineBusy


async def said(text, turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    return text


async def failing(begun):
    begun.set()
    raise EngineBusy("full")


async def long():
    try:
        await asyncio.sleep(60)
    finally:
        await said("ended", 3)


async def test_all_are_there_in_the_order_in_which_they_were_asked():
    assert await together([said("a", 3), said("b", 0)]) == ["a", "b"]


async def test_the_first_that_fails_ends_the_others():
    other = asyncio.ensure_future(long())
    with pytest.raises(EngineBusy):
        await together([failing(asyncio.Event()), other])
    assert other.cancelled()


async def test_who_is_told_to_end_at_whatever_moment_of_a_failure_ends():
    for turns in range(12):
        begun = asyncio.Event()
        calling = asyncio.create_task(together([failing(begun), long()]))
        await begun.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        over = calling.done()
        calling.cancel()
        ended, _ = await asyncio.wait([calling], timeout=2)
        assert ended
        assert calling.cancelled() or (over and calling.exception()), f"told {turns} turns after the failure"
