"""Callers who come all at once while there is much to do, and calls that are over."""

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from serving import path_of, tickets, workspace
from starlette.applications import Starlette

from insource.engines.scripted import Scripted
from insource.serve import run
from insource.serve.app import create_app
from insource.serve.exchange import Exchange
from insource.serve.run import event_loop, listen, run_server
from insource.store import Store

MANY, TURN_S = 150, 0.01
ASK = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Starlette, socket.socket]]:
    settings = workspace(folder)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", ()))})
        bound, up = listen("127.0.0.1", 0), asyncio.Event()
        running = asyncio.create_task(run_server(app, bound, up.set))
        await up.wait()
        try:
            yield app, bound
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def test_who_comes_while_the_loop_has_much_to_do_is_taken_within_a_few_turns(tmp_path: Path):
    async def turning(turns: list[float]) -> None:
        while True:
            turns.append(time.monotonic())
            time.sleep(TURN_S)  # as a turn in which many calls go on
            await asyncio.sleep(0)

    async def crowd() -> int:
        async with serving(tmp_path) as (_, bound):
            callers = [await asyncio.open_connection(*bound.getsockname()) for _ in range(5)]
            turns: list[float] = []
            busy = asyncio.create_task(turning(turns))
            callers += await asyncio.gather(*[asyncio.open_connection(*bound.getsockname()) for _ in range(MANY)])
            for _, writer in callers:
                writer.write(ASK)
            for reader, _ in callers:
                assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            count = len(turns)
            busy.cancel()
            for _, writer in callers:
                writer.close()
            await asyncio.gather(busy, return_exceptions=True)
            return count

    with asyncio.Runner(loop_factory=event_loop) as runner:
        assert runner.run(crowd()) < MANY / 3


class Line:
    """A connection that keeps nothing."""

    write_paused = False

    def write(self, data: bytes, /) -> None:
        """Sends."""

    async def drained(self) -> None:
        """Nothing piles up."""

    def resume_reading(self) -> None:
        """Nothing comes."""

    def every_head(self) -> bytes:
        """No lines."""
        return b""

    def answered(self, exchange: Exchange, /) -> None:
        """Forgets it."""

    def close(self) -> None:
        """Ends."""


async def test_a_call_that_is_over_is_gone_without_the_collector():
    async def app(scope, receive, send):
        await scope["extensions"]["insource"].answer({}, b"{}")

    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            await Exchange(Line(), {"type": "http", "method": "POST"}, keeps=True, expects=False).run(app)
        assert gc.collect() < 100
    finally:
        gc.enable()


class Knot:
    """Something that only the collector can remove."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_errors_leave_behind_goes_when_few_calls_are_under_way(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(run, "TIDY_TICKS", 1)
    async with serving(tmp_path) as (app, _):
        app.state.door.under_way = run.FEW_CALLS
        left = weakref.ref(Knot())
        await asyncio.sleep(0.3)
        assert left() is not None, "with many calls under way there is too much to look at"
        app.state.door.under_way = 0
        async with asyncio.timeout(5):
            while left() is not None:
                await asyncio.sleep(0.05)
