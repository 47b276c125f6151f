"""A call through the journey: lent a path, held to its key's limits, recorded whatever becomes of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from insource.errors import Blocked, EngineError, InsourceError, ScanFailed
from insource.journeys.answer import Path, answer, broken_off
from insource.journeys.relay import relay
from insource.nouns import Key, Record, record_id
from insource.serve import wire
from insource.serve.desk import Desk


class Answered(NamedTuple):
    """What a call came to: one record a choice, and the path that answered."""

    records: tuple[Record, ...]
    path: Path


class Unanswered(Exception):
    """No engine answered, or a scan let none; `record` says so in the store."""

    def __init__(self, error: InsourceError, record: str) -> None:
        super().__init__(str(error))
        self.error, self.record = error, record


async def ask(desk: Desk, call: wire.ChatCall, key: Key) -> Answered:
    """The answer to `call`, with as many choices as it wants; those of a task are all the same.

    An engine is asked once for each, at the same time, with seeds that follow each other where there is one. Raises
    `Unanswered`, and what refuses a call before any engine is asked.
    """
    async with desk.lend(call.model) as path:
        wanted = 1 if path.task is not None else call.n or 1
        if wanted == 1:
            return Answered((await _one(desk, call, key, path),) * (call.n or 1), path)
        calls = [
            call if call.seed is None else msgspec.structs.replace(call, seed=call.seed + i) for i in range(wanted)
        ]
        asked = [asyncio.ensure_future(_one(desk, each, key, path)) for each in calls]
        try:
            return Answered(tuple(await asyncio.gather(*asked)), path)
        finally:
            for each in asked:
                each.cancel()  # one that failed ends the others
            await asyncio.gather(*asked, return_exceptions=True)


async def _one(desk: Desk, call: wire.ChatCall, key: Key, path: Path) -> Record:
    request = wire.to_request(call, path.task, id=record_id(), key=key, deadline=path.deadline)
    with desk.meter.hold(key, request, path) as request:
        try:
            return await answer(request, path, desk.keep)
        except (EngineError, Blocked, ScanFailed) as error:
            raise Unanswered(error, request.id) from error
        except asyncio.CancelledError:
            await broken_off(request, path, desk.keep)
            raise


async def relayed(desk: Desk, call: wire.ChatCall, key: Key, id: str) -> AsyncGenerator[str | Record]:
    """The words of an engine as they come, then the record of the call, which is called `id`."""
    async with desk.lend(call.model) as path:
        request = wire.to_request(call, None, id=id, key=key, deadline=path.deadline)
        with desk.meter.hold(key, request, path) as request:
            async with aclosing(relay(request, path, desk.keep)) as pieces:
                async for piece in pieces:
                    yield piece
