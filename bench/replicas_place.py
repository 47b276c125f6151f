"""Gateways side by side on one PostgreSQL, each a process of its own, one of them in a network of its own."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from postgres import Postgres, programs

__all__ = ["Postgres", "programs"]

READY_S = 60
TOML = """
[serve]
queue = 4096
[audit]
spool = "spool"
spool_after_s = 0.5
[store]
url = "{url}"
[engines.hub]
kind = "scripted"
script = "hub.jsonl"
region = "premises"
usd_per_million_output = 1000.0
"""
SCRIPT = '{{"match": "*", "text": "one two three", "delay_s": {delay}}}\n'
# the negative control: each gateway counts for itself alone
ALONE = """
import insource.serve.app as app
async def alone(desk, settings, store):
    await desk.meter.remember(store)
    return None
app._limits = alone
from insource.cli.main import main
main()
"""


# the negative control of faults: what was spooled is not there
FORGETS = """
from insource.store.spool import Spool
async def add(self, line):
    pass
Spool.add = add
from insource.cli.main import main
main()
"""


def workspace(root: Path, url: str, delay: float = 0.01, server: str = "") -> Path:
    """A workspace whose store is there; its engine is a script, or the server of that URL."""
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    text = TOML.format(url=url)
    if server:
        text = text.replace(
            'kind = "scripted"\nscript = "hub.jsonl"', f'kind = "openai"\nmodel = "m"\nbase_url = "{server}"'
        )
    (root / "insource.toml").write_text(text, "utf-8")
    (root / "hub.jsonl").write_text(SCRIPT.format(delay=delay), "utf-8")
    return root


@dataclass
class Gateway:
    """One gateway: its process and where it answers."""

    root: Path
    process: asyncio.subprocess.Process
    url: str


async def started(root: Path, *, code: str = "", before: tuple[str, ...] = (), host: str = "") -> Gateway:
    """`insource serve` on this workspace, with `code` in its place, behind the words `before`."""
    command = ("-c", code) if code else ("-m", "insource")
    network = ("--host", host, "--allow-network") if host else ()
    with (root / "serve.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *before, sys.executable, *command, "-C", str(root), "serve", "--port", "0", "--json", *network,
            stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), READY_S)
    assert line, (root / "serve.log").read_text("utf-8")[-2000:]
    return Gateway(root, process, json.loads(line)["url"])


async def ended(gateway: Gateway) -> None:
    """It drains and is gone."""
    with contextlib.suppress(ProcessLookupError):
        gateway.process.terminate()
    try:
        await asyncio.wait_for(gateway.process.wait(), 40)
    except TimeoutError:
        gateway.process.kill()


@dataclass
class Told:
    """What callers were told: records, and answers that were none."""

    records: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    broken: int = 0


@contextlib.asynccontextmanager
async def calling(urls: list[str], told: Told, key: str, callers: int = 8, word: str = "") -> AsyncIterator[None]:
    """Callers of each gateway that go on until the block ends, and say `word`; one that broke off calls again."""
    ends = asyncio.Event()
    headers = {"authorization": f"Bearer {key}"} if key else {}

    async def one(http: aiohttp.ClientSession, gateway: int, number: int) -> None:
        i = 0
        while not ends.is_set():
            i += 1
            text = f"{word} {gateway} {number} {i}"
            body = {"model": "hub", "messages": [{"role": "user", "content": text}], "max_tokens": 4}
            try:
                async with http.post(f"{urls[gateway]}/v1/chat/completions", json=body, headers=headers) as answer:
                    await answer.read()
                    if answer.status == 200:
                        told.records.append(answer.headers["x-insource-record"])
                    else:
                        told.refused[answer.status] += 1
                        await asyncio.sleep(0.05)
            except (aiohttp.ClientError, OSError):
                told.broken += 1
                await asyncio.sleep(0.1)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        running = [asyncio.create_task(one(http, g, n)) for g in range(len(urls)) for n in range(callers)]
        try:
            yield
        finally:
            ends.set()
            await asyncio.gather(*running)


class Server:
    """A model server that takes its time, and counts how many calls are with it at once, by their first word."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self.now, self.most = Counter[str](), Counter[str]()

    @contextlib.asynccontextmanager
    async def there(self) -> AsyncIterator[str]:
        """Its URL while the block lasts."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _answer(self, http: web.Request) -> web.Response:
        word = (await http.json())["messages"][-1]["content"].split()[0]
        self.now[word] += 1
        self.most[word] = max(self.most[word], self.now[word])
        try:
            await asyncio.sleep(self._delay_s)
        finally:
            self.now[word] -= 1
        said = {"role": "assistant", "content": "one two three"}
        usage = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
        choices = [{"index": 0, "message": said, "finish_reason": "stop"}]
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        return web.json_response({**body, "choices": choices, "usage": usage})


class Network:
    """A network namespace joined to this machine by a pair of interfaces; the server's address can be cut off."""

    def __init__(self, number: int = 61) -> None:
        self.name, self.ours, self.theirs = f"replica{number}", f"10.91.{number}.1", f"10.91.{number}.2"
        self.server = f"10.91.{number}.9"
        self._link = f"veth{number}"

    @contextlib.contextmanager
    def made(self) -> Iterator["Network"]:
        """While the block lasts it is there."""
        inside = f"ip netns exec {self.name}"
        try:
            for words in (
                f"ip netns add {self.name}",
                f"ip link add {self._link} type veth peer name {self._link}p",
                f"ip link set {self._link}p netns {self.name}",
                f"ip addr add {self.ours}/24 dev {self._link}",
                f"ip addr add {self.server}/32 dev {self._link}",
                f"ip link set {self._link} up",
                f"{inside} ip addr add {self.theirs}/24 dev {self._link}p",
                f"{inside} ip link set {self._link}p up",
                f"{inside} ip link set lo up",
            ):
                subprocess.run(words.split(), check=True, capture_output=True)
            yield self
        finally:
            subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
            subprocess.run(["ip", "link", "del", self._link], check=False, capture_output=True)

    @property
    def inside(self) -> tuple[str, ...]:
        """The words before a command that runs there."""
        return "ip", "netns", "exec", self.name

    def cut(self, *, on: bool) -> None:
        """From there no packet reaches the server, or it does again."""
        words = ("ip", "route", "add" if on else "del", "blackhole", f"{self.server}/32")
        subprocess.run([*self.inside, *words], check=True, capture_output=True)


def can_network() -> bool:
    """Whether networks can be made here."""
    if os.geteuid() != 0:
        return False
    try:
        with Network(62).made():
            return True
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False


def cpu_s(number: int) -> float:
    """Seconds of the processor that a process and those it began took."""
    total = 0.0
    for one in family(number):
        with contextlib.suppress(OSError, IndexError):
            words = Path(f"/proc/{one}/stat").read_text("utf-8").rpartition(")")[2].split()
            total += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return total


def family(number: int) -> list[int]:
    """A process and those it began."""
    return [number, *_children(number)]


def _children(number: int) -> list[int]:
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{number}/task/{number}/children").read_text("utf-8").split()
        return [one for child in map(int, found) for one in (child, *_children(child))]
    return []
