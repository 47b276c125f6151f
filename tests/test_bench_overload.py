"""The load of bench/overload.py, against servers that do to it whatever servers do; and what is made of its figures."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import bad_day_rows
import overload

SOURCE = Path(overload.__file__).parent / "open_load.c"
CALL = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The load, compiled without a warning, whose patience is half a second."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    into = tmp_path_factory.mktemp("open_load") / "open_load"
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-DPATIENCE=500000", "-o", str(into), str(SOURCE), "-lm"]
    subprocess.run(words, check=True)
    return into


@asynccontextmanager
async def load(program: Path, answer: Answer) -> AsyncIterator[overload.Load]:
    """To a server whose connections answer each call so, told its number among those of its connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            while await reader.readexactly(len(CALL)):
                number += 1
                await answer(writer, number)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    call = program.with_name("call.http")
    call.write_bytes(CALL)
    async with server:
        yield overload.Load(program, server.sockets[0].getsockname()[1], call)


def said(status: int, body: bytes = b"{}", more: bytes = b"") -> bytes:
    """An answer."""
    return b"HTTP/1.1 %d Any\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(body), body)


async def test_calls_come_at_the_rate_and_are_counted_by_what_became_of_them(program: Path):
    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(said((200, 429, 500)[number % 3], b"x" * 70_000 if number % 2 else b""))

    async with load(program, answer) as to:
        first, second = await to.open(1, (1000, 1.0), (200, 1.0))
        again = await to.open(1, (1000, 1.0))
    assert abs(first["offered"] - 1000) < 130  # four standard deviations
    assert abs(second["offered"] - 200) < 57
    assert again[0]["offered"] == first["offered"]
    for level in (first, second):
        slots = level["slots"]
        assert level["offered"] == level["answered"]["n"] + level["refused"]["n"] + level["other_status"]
        assert min(level["answered"]["n"], level["refused"]["n"], level["other_status"]) > level["offered"] / 5
        assert not any(level[name] for name in overload.OTHERWISE if name != "other_status")
        assert len(slots) == 4
        assert sum(slot["offered"] for slot in slots) == level["offered"]
        assert sum(slot["answered"] for slot in slots) == level["answered"]["n"]
        assert sum(slot["refused"] for slot in slots) == level["refused"]["n"]


async def test_time_counts_from_when_a_call_was_due_and_who_waits_waits_in_order(program: Path, monkeypatch: Any):
    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.3 if number == 50 else 0)
        writer.write(said(200))

    monkeypatch.setattr(overload, "LINES", 1)
    async with load(program, answer) as to:
        (level,) = await to.open(3, (200, 1.0))
    assert level["answered"]["n"] == level["offered"]
    assert 250 < level["answered"]["most_ms"] < 450
    assert level["answered"]["p50_ms"] < 100
    assert level["answered"]["p99_ms"] > 200  # one answer was slow, and sixty calls were due meanwhile
    assert level["held"]["most_ms"] > 200
    assert level["late"]["p99_ms"] < 100  # which was no fault of the load


@pytest.mark.parametrize(
    "whole",
    [said(200, more=b"connection: close\r\n"), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"],
)
async def test_a_connection_that_ends_as_it_says_is_replaced(program: Path, whole: bytes):
    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        assert number == 1
        writer.write(whole)
        writer.close()

    async with load(program, answer) as to:
        (level,) = await to.open(4, (200, 0.5))
    assert level["answered"]["n"] == level["offered"] > 50


async def test_a_connection_that_ends_between_calls_is_replaced(program: Path):
    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(said(200, b"some"))
        if number == 2:
            writer.close()

    async with load(program, answer) as to:
        (level,) = await to.open(4, (200, 0.5))
    assert level["answered"]["n"] + level["broken"] == level["offered"]
    assert level["answered"]["n"] > 0.8 * level["offered"]  # the others were sent while it was being closed


async def test_an_answer_comes_in_pieces_and_one_that_is_cut_is_told(program: Path):
    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        whole = said(200)
        writer.write(whole[:10])
        await asyncio.sleep(0.001)
        writer.write(whole[10:-1])
        await asyncio.sleep(0.001)
        if number == 3:
            writer.transport.abort()
        else:
            writer.write(whole[-1:])

    async with load(program, answer) as to:
        (level,) = await to.open(4, (200, 0.5))
    assert level["answered"]["n"] + level["broken"] == level["offered"]
    assert level["offered"] / 6 < level["broken"] < level["offered"] / 2


async def test_silence_and_what_is_no_answer_are_told_apart(program: Path):
    async def silent(writer: asyncio.StreamWriter, number: int) -> None:
        pass

    async def nonsense(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"no HTTP\r\n\r\n")

    async with load(program, silent) as to:
        (level,) = await to.open(5, (100, 0.3))
    assert level["timed_out"] == level["offered"] > 10
    async with load(program, nonsense) as to:
        (level,) = await to.open(5, (100, 0.3))
    assert level["no_http"] == level["offered"] > 10
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        (level,) = await to._replace(port=bound.getsockname()[1]).open(5, (100, 0.3))
    assert level["broken"] == level["offered"] > 10


async def test_callers_who_wait_for_their_answers_ask_again_and_pause_when_refused(program: Path):
    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.02)
        writer.write(said(200))

    async def refuse(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(said(429))

    async with load(program, answer) as to:
        level = await to.closed(10, 1.0)
    assert 200 < level["in_time"] <= 500
    async with load(program, refuse) as to:
        level = await to.closed(10, 1.0)
    assert level["answered"]["n"] == 0
    assert 50 < level["refused"]["n"] <= 10 * (1 + 1.0 / overload.PAUSE_S)


def test_the_load_keeps_to_its_clock_while_nobody_answers(program: Path):
    call = program.with_name("still.http")
    call.write_bytes(CALL)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(1024)
        words = [program, "open", bound.getsockname()[1], 500, call, 1, "500:0.5"]
        done = subprocess.run(list(map(str, words)), check=True, capture_output=True)
    (level,) = json.loads(done.stdout)["levels"]
    assert level["timed_out"] == level["offered"] > 150
    assert level["late"]["p99_ms"] < 100
    assert level["held"]["n"] == level["offered"]  # all of them were sent


def level(offered: int = 1000, **more: Any) -> dict[str, Any]:
    """The figures of a level, as the load says them."""
    times = {"n": 0, "p50_ms": 10.0, "p99_ms": 20.0, "most_ms": 30.0}
    whole = {"seconds": 4.0, "offered": offered, "in_time": offered, "slot_s": 0.25, "answered": times, "held": times}
    whole |= {"refused": times, "late": times | {"p99_ms": 1.0}, "slots": [slot()] * 16}
    return whole | dict.fromkeys(overload.OTHERWISE, 0) | more


def slot(answered: int = 10, p99_ms: float = 20.0) -> dict[str, Any]:
    """A quarter of a second in which ten calls came."""
    return {"offered": 10, "answered": answered, "refused": 10 - answered, "p99_ms": p99_ms}


def test_it_is_well_again_when_all_is_calm_for_three_seconds():
    assert overload.recovery(level(), 40.0) == 0.0
    assert overload.recovery(level(slots=[slot(9), *[slot()] * 12]), 40.0) == 0.25
    assert overload.recovery(level(slots=[*[slot()] * 11, slot(10, 41.0), *[slot()] * 12]), 40.0) == 3.0
    assert overload.recovery(level(slots=[*[slot()] * 11, slot(9)] * 2), 40.0) == float("inf")
    empty = {"offered": 0, "answered": 0, "refused": 0, "p99_ms": float("nan")}
    assert overload.recovery(level(slots=[empty] * 12), 40.0) == 0.0


def document(*late_ms: float) -> dict[str, Any]:
    """A run whose load was so late, round by round."""
    top = {"peak": {"per_s": 100.0, "callers": 8}}
    rounds = []
    for one in late_ms:
        times = {"n": 5, "p50_ms": 1.0, "p99_ms": one, "most_ms": one}
        rounds.append(top | overload.weighed((level(), level(in_time=380, late=times), level()), 100.0))
    slow = [top | overload.weighed((level(), level(), level()), 100.0)]
    legs = {"ours": rounds, "control": slow, "slow engine": slow}
    said = {name: {"rounds": of} | overload.middle(of) for name, of in legs.items()}
    return said | {"times": 3.0, "service_ms": 250.0}


def test_a_round_whose_load_was_late_itself_does_not_count():
    def holds(*late_ms: float) -> list[bool]:
        rows = list(bad_day_rows.overload(document(*late_ms)))
        assert ("late itself" in rows[0][2]) == (max(late_ms) > overload.LATE_MS)
        return [row[3] for row in rows[:5]]

    assert holds(1.0, 1.0) == [True] * 5
    assert holds(1.0, overload.LATE_MS + 1) == [True] * 5
    assert holds(overload.LATE_MS + 1) == [False] * 5
