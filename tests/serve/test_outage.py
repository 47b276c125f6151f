"""The store taken away from a running gateway: calls go to the spool, and come into the store once, killed or not."""

import asyncio
import json
import signal
import subprocess
import sys

import httpx2 as httpx
import pytest
from outages import (
    FORGETFUL,
    Told,
    calling,
    database,
    folder,
    full,
    held,
    kill,
    locked,
    more,
    removed,
    served,
    small_disk,
    status,
)

from insource.store import spool_file

OUTAGES = {"locked": locked, "removed": removed, "full": full}
KEPT = {"lost": 0, "twice": 0, "faults": 0, "open": 0}


def spool_files(root) -> list:
    return spool_file.in_folder(root / "spool")


@pytest.mark.parametrize("outage", OUTAGES)
async def test_calls_are_answered_while_the_store_is_down_and_come_into_it_when_it_is_back(tmp_path, outage):
    root, told = folder(tmp_path / "w"), Told()
    async with served(root) as (process, url), calling(url, told) as http:
        await more(told, 60)
        assert (await http.get("/readyz")).json()["status"] == "ready"
        with OUTAGES[outage](root, process.pid):
            await status(http, "degraded")
            await more(told, 100)
            got = await status(http, "degraded")
            assert got.status_code == 200
            assert "calls go to the spool since" in got.json()["faults"][0]
            assert str(root) not in got.text
            numbers = (await http.get("/metrics")).text
            assert "insource_spooling 1.0" in numbers
            assert "insource_store_up 0.0" in numbers
            assert 'insource_spooled_total{kind="record"}' in numbers
            assert spool_files(root)
        await status(http, "ready")
        assert not spool_files(root)
        await more(told, 50)
        assert "insource_spooling 0.0" in (await http.get("/metrics")).text
    assert not told.refused
    assert told.slowest < 3
    found = await held(root, told)
    assert found.pop("spooled") >= 100
    assert found == KEPT
    log = (root / "serve.log").read_text()
    assert log.count("calls go to the spool") == log.count("the store takes rows again") == 1


@pytest.mark.slow
@pytest.mark.parametrize("outage", OUTAGES)
async def test_killed_while_the_store_is_down_it_has_every_answered_call_once_it_is_started_again(tmp_path, outage):
    root, told = folder(tmp_path / "w"), Told()
    async with served(root) as (process, url), calling(url, told) as http:
        await more(told, 60)
        with OUTAGES[outage](root, process.pid):
            await status(http, "degraded")
            await more(told, 100)
            kill(process)
            await process.wait()
    assert spool_files(root)
    async with served(root) as (_, url), httpx.AsyncClient(base_url=url, timeout=20) as http:
        assert (await http.get("/readyz")).json()["status"] == "ready"
        assert not spool_files(root)
    found = await held(root, told)
    assert found.pop("spooled") >= 100
    assert found == KEPT
    assert "carried in from the spool" in (root / "serve.log").read_text()


async def test_the_kill_test_notices_calls_that_are_not_in_the_spool(tmp_path):
    root, told = folder(tmp_path / "w"), Told()
    async with served(root, FORGETFUL) as (process, url), calling(url, told) as http:
        await more(told, 50)
        with locked(root, process.pid):
            await status(http, "degraded")
            await more(told, 100)
            kill(process)
            await process.wait()
    assert (await held(root, told))["lost"] >= 100


async def test_without_a_spool_calls_are_refused_and_none_is_lost(tmp_path):
    root, told = folder(tmp_path / "w", spool=""), Told()
    async with served(root) as (process, url), calling(url, told, callers=4) as http:
        await more(told, 20)
        with removed(root, process.pid):
            got = await status(http, "not ready")
            assert got.status_code == 503
            while told.refused[503] < 50:
                await asyncio.sleep(0.01)
        await status(http, "ready")
    assert set(told.refused) <= {503, 200}, "a stream that had begun ends with an error event"
    found = await held(root, told)
    assert found == KEPT | {"spooled": 0}


@pytest.mark.slow
async def test_a_store_that_is_slow_and_takes_rows_late_has_each_call_once(tmp_path):
    """The rows that nobody waited for any longer are written when the lock goes, and lie in the spool as well."""
    root, told = folder(tmp_path / "w", after=0.2), Told()
    async with served(root) as (process, url), calling(url, told) as http:
        await more(told, 50)
        for _ in range(6):
            with locked(root, process.pid):
                await asyncio.sleep(0.5)
            await asyncio.sleep(0.2)
        await status(http, "ready")
    assert not told.refused
    assert told.slowest < 2
    found = await held(root, told)
    assert found.pop("spooled") > 0
    assert found == KEPT


@pytest.mark.slow
async def test_a_lock_that_outlives_every_patience_of_the_database_costs_nothing(tmp_path):
    root, told = folder(tmp_path / "w"), Told()
    async with served(root) as (process, url), calling(url, told) as http:
        await more(told, 50)
        with locked(root, process.pid):
            await asyncio.sleep(25)
        await status(http, "ready", 15)
    assert not told.refused
    assert told.slowest < 3
    found = await held(root, told)
    assert found.pop("spooled") > 100
    assert found == KEPT


async def test_a_spool_that_is_full_refuses_calls_and_says_so(tmp_path):
    root, told = folder(tmp_path / "w", more="spool_bytes = 65536"), Told()
    async with served(root) as (process, url), calling(url, told, callers=2) as http:
        await more(told, 20)
        with locked(root, process.pid):
            await status(http, "degraded")
            got = await status(http, "not ready")
            assert got.status_code == 503
            assert "the spool is full" in got.json()["faults"][0]
            while told.refused[503] < 20:
                await asyncio.sleep(0.01)
            assert sum(path.stat().st_size for path in spool_files(root)) <= 65_536
            call = {"model": "hub", "messages": [{"role": "user", "content": "more"}]}
            answer = await http.post("/v1/chat/completions", json=call)
            while answer.status_code == 200:  # where another call ended smaller than it might have, one more has room
                answer = await http.post("/v1/chat/completions", json=call)
            assert answer.status_code == 503
            assert "audit.spool_bytes" in answer.json()["error"]["message"]
        await status(http, "ready")
        await more(told, 10)
    assert set(told.refused) == {503}
    found = await held(root, told)
    assert found.pop("spooled") > 10
    assert found == KEPT


async def test_a_disk_that_is_full_is_gone_on_without_and_with_again(tmp_path):
    """A disk of its own for the store; the spool lies on another."""
    root, told = folder(tmp_path / "w"), Told()
    state = root / ".insource"
    if not small_disk(state, "1m"):
        pytest.skip("no disk can be mounted here")
    try:
        async with served(root) as (_, url), calling(url, told) as http:
            await status(http, "degraded")
            await more(told, 100)
            assert small_disk(state, "100m")
            await status(http, "ready")
            await more(told, 50)
        assert not told.refused
        found = await held(root, told)
        assert found.pop("spooled") >= 100
        assert found == KEPT
        assert "on the disk of the store" not in (root / "serve.log").read_text()
    finally:
        subprocess.run(["umount", str(state)], check=False)


async def test_stopped_while_the_store_is_down_it_leaves_its_calls_in_the_spool(tmp_path):
    root, told = folder(tmp_path / "w"), Told()
    async with served(root) as (process, url):
        async with calling(url, told) as http:
            await more(told, 20)
            away = removed(root, process.pid)
            away.__enter__()
            await status(http, "degraded")
            await more(told, 50)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 40) == 0
    away.__exit__(None, None, None)
    assert spool_files(root)
    command = [sys.executable, "-m", "insource", "-C", str(root), "store", "recover", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["came"]["ended"] >= 50
    assert not spool_files(root)
    found = await held(root, told)
    assert found.pop("spooled") >= 50
    assert found == KEPT
    again = subprocess.run([*command[:-1]], capture_output=True, text=True, check=True)
    assert again.stdout.strip() == "nothing is spooled"


async def test_it_does_not_start_with_a_spool_that_it_cannot_write(tmp_path):
    root = folder(tmp_path / "w", spool="taken/spool")
    (root / "taken").write_text("a file where the folder should be")
    command = [sys.executable, "-m", "insource", "-C", str(root), "serve", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4
    assert "the spool" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_spool_that_was_changed_is_kept_and_named_at_every_place(tmp_path):
    root, told = folder(tmp_path / "w"), Told()
    async with served(root) as (process, url), calling(url, told) as http:
        await more(told, 20)
        with locked(root, process.pid):
            await status(http, "degraded")
            await more(told, 50)
            kill(process)
            await process.wait()
    (path,) = spool_files(root)
    rows = path.read_bytes().splitlines(keepends=True)
    rows[9] = rows[9].replace(b"spooled", b"spooked")
    path.write_bytes(b"".join(rows))
    async with served(root) as (_, url), httpx.AsyncClient(base_url=url, timeout=20) as http:
        ready = await status(http, "degraded")
        assert f"{path.name}: line 10 is not as it was written" in ready.json()["faults"][0]
        await http.post("/v1/chat/completions", json={"model": "hub", "messages": [{"role": "user", "content": "x"}]})
        await status(http, "degraded")
    assert f"{path}: line 10 is not as it was written" in (root / "serve.log").read_text()
    command = [sys.executable, "-m", "insource", "-C", str(root), "store", "recover"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{path}: line 10" in done.stdout
    assert path.read_bytes() == b"".join(rows)
    assert database(root).exists()
