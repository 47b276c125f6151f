"""A gateway in a process of its own whose store is taken away under calls, and what callers were told meanwhile."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
from serving import say

from insource.journeys.recover import end_calls
from insource.settings import load_settings
from insource.store import Store

TOML = """
[serve]
queue = 4096
[audit]
spool = "{spool}"
spool_after_s = {after}
{more}
[engines.hub]
kind = "scripted"
script = "hub.jsonl"
region = "premises"
"""
# what was spooled is not there: whether a test notices
FORGETFUL = """
import sys
from insource.store.spool import Spool
async def add(self, line):
    pass
Spool.add = add
from insource.cli.main import main
main()
"""


def folder(root: Path, *, spool: str = "spool", after: float = 0.3, more: str = "") -> Path:
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "insource.toml").write_text(TOML.format(spool=spool, after=after, more=more))
    (root / "hub.jsonl").write_text('{"match": "*", "text": "one two three", "delay_s": 0.01}\n')
    return root


@asynccontextmanager
async def served(
    root: Path, code: str = "", options: tuple[str, ...] = ()
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`insource serve` on this workspace; with `code`, that in its place. Its log is in serve.log."""
    command = ("-c", code) if code else ("-m", "insource")
    with (root / "serve.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, "-C", str(root), "serve", "--port", "0", "--json", *options,
            stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line, (root / "serve.log").read_text()
        yield process, json.loads(line)["url"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class Told:
    """The records that callers were told of, the answers that were none by status, and the slowest call in seconds."""

    records: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0


async def call(http: httpx.AsyncClient, told: Told, text: str, **more: object) -> None:
    """One call; what broke off is told to nobody."""
    began = time.monotonic()
    got = await http.post("/v1/chat/completions", json=say(text, **{"model": "hub"} | more))
    told.slowest = max(told.slowest, time.monotonic() - began)
    whole = got.status_code == 200 and (not more.get("stream") or got.text.endswith("data: [DONE]\n\n"))
    if whole:
        told.records.append(got.headers["x-insource-record"])
    else:
        told.refused[got.status_code] += 1


@asynccontextmanager
async def calling(url: str, told: Told, callers: int = 16) -> AsyncIterator[httpx.AsyncClient]:
    """Callers that go on, plain and streamed, until the block ends or the gateway is gone."""
    ends = asyncio.Event()

    async def one(number: int) -> None:
        i = 0
        while not ends.is_set():
            i += 1
            try:
                await call(http, told, f"{url} {number} {i}", stream=bool(number % 2))
            except httpx.TransportError:
                return

    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        running = [asyncio.create_task(one(number)) for number in range(callers)]
        try:
            yield http
        finally:
            ends.set()
            await asyncio.gather(*running)


async def more(told: Told, count: int, seconds: float = 60) -> None:
    """Returns when so many more calls were answered."""
    wanted, until = len(told.records) + count, time.monotonic() + seconds
    while len(told.records) < wanted:
        assert time.monotonic() < until, f"{len(told.records)} answers, {told.refused} refused"
        await asyncio.sleep(0.01)


async def status(http: httpx.AsyncClient, wanted: str, seconds: float = 40) -> httpx.Response:
    """What /readyz says once its status is that."""
    until = time.monotonic() + seconds
    while True:
        got = await http.get("/readyz")
        if got.json()["status"] == wanted:
            return got
        assert time.monotonic() < until, got.text
        await asyncio.sleep(0.05)


def database(root: Path) -> Path:
    return root / ".insource" / "insource.db"


@contextmanager
def locked(root: Path, _: int) -> Iterator[None]:
    """Another program holds the database."""
    with contextlib.closing(sqlite3.connect(database(root), isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout=10000")
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def removed(root: Path, _: int) -> Iterator[None]:
    """The file is moved away, and put back."""
    database(root).rename(root / "away.db")
    yield
    (root / "away.db").rename(database(root))


@contextmanager
def full(root: Path, number: int) -> Iterator[None]:
    """The process may let no file grow beyond what the database's log has now: before that begins anew, at 4 MB."""
    size = database(root).with_name("insource.db-wal").stat().st_size
    _, most = resource.prlimit(number, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    yield
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(number, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, most))


def small_disk(place: Path, size: str) -> bool:
    """Mounts a small disk there; whether that is allowed. Called again, it changes its size."""
    place.mkdir(parents=True, exist_ok=True)
    remount = "remount," if os.path.ismount(place) else ""
    command = ["mount", "-t", "tmpfs", "-o", f"{remount}size={size}", "tmpfs", str(place)]
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    return False


async def held(root: Path, told: Told) -> dict[str, int]:
    """What is lost of that, what is there twice, and how much came through the spool."""
    settings = load_settings(root)
    async with await Store.open(settings) as store:
        await end_calls(settings, store)
        records = await store.records(limit=10**6)
        there = Counter(record.id for record in records if record.outcome == "answered")
        inputs = Counter(record.input_hash for record in records if record.outcome == "answered")
        return {
            "lost": sum(name not in there for name in told.records),
            "twice": sum(count > 1 for count in (there + inputs).values()),
            "spooled": sum(record.spooled for record in records),
            "faults": len((await store.verify_chain()).faults),
            "open": await store.open_calls(),
        }


def kill(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGKILL)
