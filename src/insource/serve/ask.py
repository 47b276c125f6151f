"""A call through the journey: lent a path, held to its key's limits, recorded whatever becomes of it."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

import msgspec

from insource.engines.together import together
from insource.errors import Blocked, EngineError, InsourceError, ScanFailed
from insource.journeys.answer import STOPPED, Path, answer, broken_off, chosen
from insource.journeys.relay import LEFT
from insource.nouns import Key, Record, Request, record_id
from insource.serve import wire
from insource.serve.chat_call import ChatCall
from insource.serve.desk import Desk
from insource.serve.exchange import Exchange
from insource.serve.fresh import Headers, as_wished
from insource.serve.leaving import WhileThere
from insource.serve.trying import Turn


class Asked(NamedTuple):
    """A call, whose it is, and why it names its task or engine, in words: empty where the caller did.

    `sent` are the headers that it came with.
    """

    call: ChatCall
    key: Key
    why: str = ""
    sent: Headers = ()


class Answered(NamedTuple):
    """What a call came to: one record a choice, and the path that answered."""

    records: tuple[Record, ...]
    path: Path


class Unanswered(Exception):
    """No engine answered, or a scan let none; `record` says so in the store."""

    def __init__(self, error: InsourceError, record: str) -> None:
        super().__init__(str(error))
        self.error, self.record = error, record


async def ask(desk: Desk, asked: Asked, exchange: Exchange) -> Answered:
    """The answer to a call, with as many choices as it wants; those of a task are all the same.

    An engine is asked once for each, at the same time, with seeds that follow each other where there is one. Raises
    `Unanswered`, `Gone` when the caller leaves meanwhile, and what refuses a call before any engine is asked.
    """
    with WhileThere(exchange) as there:
        async with desk.lend(asked.call.model, asked.why) as path:
            return Answered(await _all(desk, asked, as_wished(path, asked.sent), there), path)


async def _all(desk: Desk, asked: Asked, path: Path, there: WhileThere) -> tuple[Record, ...]:
    call = asked.call
    wanted = 1 if path.task is not None else call.n or 1
    if wanted == 1:
        return (await _one(desk, asked, path, there),) * (call.n or 1)
    calls = [call if call.seed is None else msgspec.structs.replace(call, seed=call.seed + i) for i in range(wanted)]
    return tuple(await together([_one(desk, asked._replace(call=each), path, there) for each in calls]))


async def _one(desk: Desk, asked: Asked, path: Path, there: WhileThere) -> Record:
    request = wire.to_request(asked.call, path.task, id=record_id(), key=asked.key, deadline=path.deadline)
    with desk.trying.call(request, chosen(request, path), asked.call.model) as turn:
        return await _answered(desk, request, asked.key, turn, there)


async def _answered(desk: Desk, request: Request, key: Key, turn: Turn, there: WhileThere) -> Record:
    path = desk.seeing.path(turn.path)
    with await desk.meter.take(key, request, path) as request, desk.seeing.call(request) as request:
        keep = there.sealing(desk.keep)
        try:
            record = await answer(request, path, keep)
            turn.answered(record)
            return record
        except (EngineError, Blocked, ScanFailed) as error:
            raise Unanswered(error, request.id) from error
        except asyncio.CancelledError:
            if not keep.begun:
                with suppress(InsourceError):  # who is told to end does, also where that cannot be put on record
                    await broken_off(request, path, desk.keep, LEFT if there.gone else STOPPED)
            raise
