"""Several processes behind one address: all answer, one that dies is started again, and all end in order."""

import asyncio
import contextlib
import errno
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import httpx2 as httpx
import pytest
from outages import Told, call, calling, folder, held, more, served
from serving import say

from insource.serve.workers import LASTS_S, NotStarted, Workers
from insource.settings import load_settings
from insource.store import Store

WORKERS = 2
# takes no calls; has some to end when it is told to, and drops them when it is told twice; Ctrl-C is "at once"
CHILD = """
import os, signal, sys, time
parent = os.getppid()

def drain(*_):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    signal.signal(signal.SIGINT, lambda *_: os._exit(2))
    time.sleep(0.3)
    os._exit(0)

signal.signal(signal.SIGTERM, drain)
_, folder, _, told = sys.argv
open(f"{folder}/{os.getpid()}", "w").close()
os.write(int(told.split(",")[1]), b"ready\\n")
while os.getppid() == parent:
    time.sleep(0.05)
"""


@contextlib.asynccontextmanager
async def workers(root: Path):
    """`insource serve --workers 2`: its process, its URL and the numbers of its children."""
    async with served(root, options=("--workers", str(WORKERS))) as (process, url):
        yield process, url, children(process.pid)


def children(parent: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@pytest.mark.slow
async def test_a_worker_that_is_killed_costs_no_record_and_is_started_again(tmp_path):
    root, told = folder(tmp_path), Told()
    async with workers(root) as (process, url, before):
        assert len(before) == WORKERS
        async with calling_again(url, told):
            await more(told, 60)
            os.kill(before[0], signal.SIGKILL)
            await more(told, 200)
            until = time.monotonic() + 30
            while len(now := children(process.pid)) < WORKERS or before[0] in now:
                assert time.monotonic() < until
                await asyncio.sleep(0.05)
            assert before[1] in now, "the other was left alone"
            await more(told, 60)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    assert "worker 0 ended (signal SIGKILL)" in (root / "serve.log").read_text()
    found = await held(root, told)
    assert (found["lost"], found["twice"], found["faults"], found["open"]) == (0, 0, 0, 0), found
    assert not [one for one in before if Path(f"/proc/{one}").exists()]


@contextlib.asynccontextmanager
async def calling_again(url: str, told: Told):
    """Callers that go on when a connection breaks off."""
    ends = asyncio.Event()

    async def one(number: int) -> None:
        i = 0
        while not ends.is_set():
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                with contextlib.suppress(httpx.TransportError):
                    while not ends.is_set():
                        i += 1
                        await call(http, told, f"{number} {i}", stream=bool(number % 2))

    running = [asyncio.create_task(one(number)) for number in range(16)]
    try:
        yield
    finally:
        ends.set()
        await asyncio.gather(*running)


@pytest.mark.slow
async def test_whichever_worker_is_asked_the_numbers_are_of_all(tmp_path):
    async with workers(folder(tmp_path)) as (_, url, __):
        for i in range(30):  # a connection each: both get some
            async with httpx.AsyncClient(base_url=url) as http:
                assert (await http.post("/v1/chat/completions", json=say(f"x{i}", "hub"))).status_code == 200
        await asyncio.sleep(2.5)
        for _ in range(4):
            async with httpx.AsyncClient(base_url=url) as http:
                page = (await http.get("/metrics")).text
            found = re.findall(
                r'^insource_tenant_calls_total\{tenant="local",worker="(\d)"\} (\d+)', page, re.MULTILINE
            )
            assert sum(int(count) for _, count in found) == 30, page
            assert {number for number, _ in re.findall(r'insource_in_flight\{worker="(\d)"\} (\d)', page)} == {"0", "1"}
            assert page.count("\ninsource_store_up 1.0") == 1


@pytest.mark.slow
async def test_children_end_when_their_parent_is_killed(tmp_path):
    async with workers(folder(tmp_path)) as (process, url, before):
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.post("/v1/chat/completions", json=say("x", "hub"))).status_code == 200
        process.kill()
        await process.wait()
        until = time.monotonic() + 20
        while any(Path(f"/proc/{one}").exists() for one in before):
            assert time.monotonic() < until
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_workers_in_one_folder_write_one_file_of_checkpoints(tmp_path):
    root, told = folder(tmp_path, more="checkpoint_s = 1"), Told()
    async with workers(root) as (process, url, _):
        async with calling(url, told):
            await more(told, 50)
            await asyncio.sleep(2.5)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
    from insource.journeys.audit import verify

    settings = load_settings(root)
    async with await Store.open(settings) as store:
        found = await verify(settings, store)
        assert found.whole, found.faults
        assert found.checkpoints >= 2


@pytest.mark.slow
async def test_a_worker_that_cannot_start_is_said_and_nothing_stays(tmp_path):
    root = folder(tmp_path)
    (root / "hub.jsonl").write_text("nonsense\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "insource"), "-C", str(root), "serve", "--port", "0", "--workers", "2",
        "--client-ca", str(root / "insource.toml"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert b"TLS takes both" in said


LONG = CHILD.replace("time.sleep(0.3)", "time.sleep(30)")
HANGS = CHILD.replace("signal.signal(signal.SIGTERM, drain)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")


@contextlib.asynccontextmanager
async def parent_of(root: Path, say, child=CHILD):
    """A parent here whose children all answer, and what it comes to. Each child's number of process is a file."""
    ready = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as bound:
        parent = Workers(bound, WORKERS, [sys.executable, "-c", child, str(root)], say)
        ends = asyncio.create_task(parent.run(ready.set))
        await asyncio.wait_for(ready.wait(), 60)
        yield parent, ends


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_worker_for_which_there_is_no_room_is_tried_again_and_all_drain(tmp_path, monkeypatch):
    monkeypatch.setattr("insource.serve.workers.FIRST_S", 0.01)
    said, full = [], ["no process is left", "no handle is left"]
    spawn, before = asyncio.create_subprocess_exec, handles()

    async def spawned(*command, **how):
        if full:
            raise OSError(errno.EAGAIN, full.pop(0))
        return await spawn(*command, **how)

    async with parent_of(tmp_path, said.append) as (parent, ends):
        monkeypatch.setattr(asyncio, "create_subprocess_exec", spawned)
        first = parent._children[0]
        first.began -= LASTS_S + 1
        first.process.kill()
        until = time.monotonic() + 20
        while (now := parent._children[0]) is first or not (tmp_path / str(now.process.pid)).exists():
            assert time.monotonic() < until
            await asyncio.sleep(0.02)
        parent._stop()
        assert await asyncio.wait_for(ends, 30) == 0
    assert said == [
        "worker 0 ended (signal SIGKILL) and is started again in 0.01 s",
        "worker 0 was not started (no process is left) and is started again in 0.02 s",
        "worker 0 was not started (no handle is left) and is started again in 0.04 s",
    ]
    assert handles() <= before


async def test_where_there_is_no_room_for_the_first_that_is_said(monkeypatch):
    async def none(*_, **__):
        raise OSError(errno.EAGAIN, "no process is left")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", none)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        parent = Workers(bound, WORKERS, [sys.executable], print)
        with pytest.raises(NotStarted, match=r"worker 0 was not started \(no process is left\)"):
            await parent.run(print)


async def test_a_worker_that_is_just_being_started_when_all_are_to_end_ends_with_them(tmp_path, monkeypatch):
    spawn, begun, told = asyncio.create_subprocess_exec, asyncio.Event(), asyncio.Event()

    async def slow(*command, **how):
        process = await spawn(*command, **how)
        begun.set()
        await told.wait()
        return process

    async with parent_of(tmp_path, print) as (parent, ends):
        monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
        first = parent._children[0]
        first.process.kill()
        await asyncio.wait_for(begun.wait(), 20)
        parent._stop()
        told.set()
        await asyncio.wait_for(ends, 20)
        assert parent._children[0] is not first
        assert parent._children[0].process.returncode is not None


async def test_told_twice_it_ends_its_workers_at_once(tmp_path):
    async with parent_of(tmp_path, print, LONG) as (parent, ends):
        parent._stop()
        await asyncio.sleep(0.5)
        parent._stop()
        assert await asyncio.wait_for(ends, 20) == WORKERS
        assert {child.process.returncode for child in parent._children.values()} == {2}


async def test_a_worker_that_does_not_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("insource.serve.workers.DRAIN_S", 0.2)
    async with parent_of(tmp_path, print, HANGS) as (parent, ends):
        parent._stop()
        assert await asyncio.wait_for(ends, 20) == WORKERS
        assert {child.process.returncode for child in parent._children.values()} == {-signal.SIGKILL}


async def test_a_fault_in_watching_one_worker_drops_no_call_of_another(tmp_path):
    said = asyncio.Event()

    def unheard(_):
        said.set()
        raise BrokenPipeError(errno.EPIPE, "nobody reads this")

    async with parent_of(tmp_path, unheard) as (parent, ends):
        parent._children[0].process.kill()
        await asyncio.wait_for(said.wait(), 20)
        parent._stop()
        with pytest.raises(BrokenPipeError):
            await asyncio.wait_for(ends, 30)
