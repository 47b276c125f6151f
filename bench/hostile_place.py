"""What hostile callers meet: a workspace with a specialist, two engines and keys, served by `insource serve`.

`Seen` judges every answer: no 5xx but the declared ones, and every error in OpenAI's form.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from insource.journeys import keys
from insource.journeys.train import train
from insource.nouns import Dataset, Example, Key, StageChange, digest
from insource.settings import load_settings, load_task
from insource.store import Store

READY_S, PATIENCE_S = 120, 60
OPERATOR = Key(id="", name="operator", roles=("operator",))
DECLARED = (502, 503)
SAMPLES = 20
PARTS = {"message", "type", "param", "code"}
TOML = """
[serve]
queue = 4096
[engines.hub]
kind = "scripted"
script = "hub.jsonl"
region = "premises"
[engines.far]
kind = "openai"
base_url = "{far}"
model = "far-model"
region = "premises"
"""
TASK = """
name = "tickets"
kind = "classify"
[outputs.intent]
labels = ["refund", "status", "cancel"]
[risk]
threshold = 0.5
else = ["review"]
"""
WORDS = {
    "refund": ("money back", "refund my payment", "return the money", "reimburse me"),
    "status": ("where is my order", "track the parcel", "delivery status", "has it shipped"),
    "cancel": ("cancel my order", "stop the purchase", "do not send it", "withdraw the order"),
}
TEXT = "one two three"
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "far-model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
}
ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
# what a line of the log may hold, by its event: all of it ours
LINES = {
    "call": {"record", "task", "release", "tier", "outcome", "status", "ms", "tenant", "caller"},
    "refused": {"code", "status"},
    "notice": {"message"},
    "log": {"logger", "message", "error", "where"},
}


@dataclass
class Seen:
    """The answers to one kind of calls; `faults` are samples of what may not be, each with the call it answers."""

    calls: int = 0
    failed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str, call: object) -> None:
        """Notes what may not be."""
        self.failed += 1
        if len(self.faults) < SAMPLES:
            self.faults.append(f"{what}: {str(call)[:300]!r}")

    def answer(self, status: int, body: bytes, call: object, *, bare: bool = False) -> None:
        """Judges one answer; a `bare` one, to HEAD, has no body."""
        self.calls += 1
        self.statuses[str(status)] += 1
        if status >= 500 and status not in DECLARED:
            self.fault(f"an undeclared {status}", call)
        elif status >= 400 and not bare and not in_form(body):
            self.fault(f"{status} without an error of OpenAI's form", call)

    def silence(self, why: str, call: object) -> None:
        """Judges a call that got no answer."""
        self.calls += 1
        self.statuses[why] += 1
        self.fault(why, call)


def in_form(body: bytes) -> bool:
    """Whether it is {"error": {message, type, param, code}} with a message."""
    try:
        error = json.loads(body)["error"]
        return set(error) == PARTS and bool(error["message"])
    except (ValueError, KeyError, TypeError):
        return False


@dataclass
class Place:
    """A gateway that is running: where, with which key, and what it wrote to its log."""

    url: str
    port: int
    key: str
    root: Path
    process: asyncio.subprocess.Process
    operator: str = ""  # the key that may see the numbers

    @property
    def bearer(self) -> dict[str, str]:
        """The headers of a caller with a key."""
        return {"Authorization": f"Bearer {self.key}"}

    def memory_mb(self) -> dict[str, float]:
        """What the process holds, and the most it ever held."""
        said = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", said))
        return {"now": int(found["VmRSS"]) / 1024, "peak": int(found["VmHWM"]) / 1024}

    def open_files(self) -> int:
        """How many files and connections it holds."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def log(self) -> bytes:
        """All that it wrote."""
        return (self.root / "serve.log").read_bytes()

    async def lives(self) -> bool:
        """Whether it is the same process still, ready, and answers good calls by the task and by both engines."""
        if self.process.returncode is not None:
            return False
        try:
            async with session(self) as http:
                for model, route in (("tickets", 0), ("hub", 0), ("far", 0), ("tickets", 1), ("far", 2)):
                    async with http.post(self.url + ROUTES[route], json=good(model, route)) as answer:
                        await answer.read()
                        if answer.status != 200:
                            return False
                async with http.get(f"{self.url}/readyz") as answer:
                    return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False


def good(model: str, route: int = 0, text: str = "where is my money back") -> dict[str, Any]:
    """A call that is answered."""
    bodies: tuple[dict[str, Any], ...] = (
        {"messages": [{"role": "user", "content": text}]},
        {"prompt": text},
        {"input": text},
    )
    return {"model": model, **bodies[route]}


def session(place: Place, *, keyed: bool = True) -> aiohttp.ClientSession:
    """A client of it."""
    headers = place.bearer if keyed else {}
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    return aiohttp.ClientSession(headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0))


def foreign_lines(log: bytes, canary: bytes) -> list[str]:
    """Lines of a log of JSON that hold a caller's text, or what no line of ours holds."""
    found = []
    for line in log.splitlines():
        try:
            said = json.loads(line)
            known = LINES[said["event"]] | {"time", "level", "event"}
            odd = not set(said) <= known
        except (ValueError, KeyError, TypeError):
            odd = True
        if odd or canary in line:
            found.append(line[:300].decode("utf-8", "replace"))
    return found


def examples() -> list[Example]:
    """Rows that a linear specialist learns from."""
    made = []
    for label, phrases in WORDS.items():
        for i in range(60):
            text, target = f"please {phrases[i % 4]} number {i}", {"intent": label}
            split = ("train", "train", "dev", "test")[i % 4]
            name = Example.identity("tickets", text, target)
            made.append(Example(id=name, task="tickets", input=text, target=target, split=split))  # type: ignore[arg-type]
    return made


async def made(root: Path, far: str, more: str = "", wanted: tuple[Key, ...] = ()) -> list[str]:
    """Makes the workspace, its specialist live, with a key for "desk" and for each of `wanted`; their texts."""
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text(TOML.format(far=far) + more, "utf-8")
    (root / "tasks" / "tickets.toml").write_text(TASK, "utf-8")
    (root / "hub.jsonl").write_text(json.dumps({"match": "*", "text": TEXT}) + "\n", "utf-8")
    settings, rows = load_settings(root), examples()
    async with await Store.open(settings) as store:
        await store.save_dataset(Dataset(id=digest([row.id for row in rows]), task="tickets", counts={}), rows)
        release = await train(load_task(settings, "tickets"), settings, store, base="linear")
        await store.change_stage(StageChange(release=release.name, before="candidate", after="live", who="", why=""))
        return [(await keys.create(store, key))[1] for key in (Key(id="", name="desk"), *wanted)]


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """The base URL of a server with the OpenAI API that answers anything."""

    async def chat(request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        if not asked.get("stream"):
            return web.json_response(COMPLETION)
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for delta, end in (({"role": "assistant", "content": TEXT}, None), ({}, "stop")):
            said = {"index": 0, "delta": delta, "finish_reason": end}
            chunk = {**COMPLETION, "object": "chat.completion.chunk", "choices": [said]}
            await answer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async def embed(request: web.Request) -> web.StreamResponse:
        texts = json.loads(await request.read())["input"]
        rows = [{"object": "embedding", "index": i, "embedding": [0.1, 0.2]} for i in range(len(texts))]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return web.json_response({"object": "list", "data": rows, "model": "far-model", "usage": usage})

    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/embeddings", embed)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(root: Path, key: str, command: tuple[str, ...] = ("-m", "insource")) -> AsyncIterator[Place]:
    """The workspace, served by a process of its own that writes its log as JSON."""
    with (root / "serve.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, "-C", str(root), "serve", "--port", "0", "--allow-network",
            "--json", "--log-json", stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_S)
            url = str(json.loads(line)["url"])
            place = Place(url, int(url.rpartition(":")[2]), key, root, process)
            if not await place.lives():
                raise RuntimeError(f"the gateway does not answer: {place.log()[-2000:]!r}")
            yield place
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
