"""Several processes behind one address: all answer, one that dies is started again, and all end in order."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

import httpx2 as httpx
import pytest
from outages import Told, call, calling, folder, held, more, served
from serving import say

from insource.settings import load_settings
from insource.store import Store

WORKERS = 2


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
