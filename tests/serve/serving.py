"""A gateway on a real socket, with scripted engines behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import openai
import uvicorn

from insource.engines.scripted import Rule, Scripted
from insource.journeys.answer import Path, Tier
from insource.nouns import Output, Risk, Task
from insource.serve.app import create_app
from insource.serve.connection import Connection
from insource.serve.run import address, listen
from insource.settings import EngineSettings, ServeSettings, Settings
from insource.store import Store

LABELS = ("refund", "status", "other")
TOML = """
name = "tickets"
kind = "classify"
[outputs.intent]
labels = ["refund", "status", "other"]
[risk]
threshold = 0.85
"""
RULES = (
    Rule(
        match="refund",
        value={"intent": "refund"},
        confidence=0.97,
        fields={"intent": 0.97},
        alternatives={"intent": (("refund", 0.97), ("status", 0.02), ("other", 0.01))},
    ),
    Rule(match="unsure", value={"intent": "status"}, confidence=0.62, fields={"intent": 0.62}),
    Rule(match="broken", text="no such label", confidence=0.99),
    Rule(match="down", error="down"),
    Rule(match="slowly", value={"intent": "status"}, confidence=0.99, delay_s=0.3),
    Rule(match="*", value={"intent": "other"}, confidence=0.9),
)


def tickets(threshold: float | None = 0.85, otherwise: tuple[str, ...] = ("review",)) -> Task:
    return Task(
        name="tickets",
        kind="classify",
        outputs=(Output(name="intent", labels=LABELS),),
        risk=Risk(threshold=threshold, otherwise=otherwise),
    )


def path_of(store: Store, task: Task, *engines: Scripted) -> Path:
    tiers = [Tier(engines[0], f"{task.name}@1.0.0"), *[Tier(engine) for engine in engines[1:]]]
    return Path(task=task, tiers=tuple(tiers), threshold=task.risk.threshold, key=store.tenant_key, intend=store.intend)


def workspace(root: FilePath, **serve: int) -> Settings:
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "tasks" / "tickets.toml").write_text(TOML)
    (root / "hub.jsonl").write_text(
        '{"match": "break off", "error": "down"}\n'
        '{"match": "linger", "text": "one two three four", "delay_s": 0.5}\n'
        '{"match": "crawl", "text": "one two three four", "delay_s": 5.0}\n'
        '{"match": "*", "text": "Hello there, friend."}\n'
    )
    hub = EngineSettings(kind="scripted", script="hub.jsonl", model="hub-large", usd_per_million_output=1.0)
    return Settings(root=root, cache=root, serve=ServeSettings(**serve), engines={"hub": hub})


@asynccontextmanager
async def gateway(root: FilePath, path: Path | None = None, **serve: int) -> AsyncIterator[tuple[str, Store]]:
    """The URL of a running gateway and its store. Without `path`, `tickets` is answered by RULES."""
    settings = workspace(root, **serve)
    async with await Store.open(settings) as store:
        path = path or path_of(store, tickets(), Scripted("one", RULES))
        app = create_app(settings, store, {"tickets": path})
        async with socket_of(app) as url:
            yield url, store


@asynccontextmanager
async def socket_of(app) -> AsyncIterator[str]:
    bound = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", http=Connection))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[bound])
    ticking = asyncio.create_task(server.main_loop())
    try:
        yield address(bound)
    finally:
        server.should_exit = True
        await ticking
        await server.shutdown(sockets=[bound])


def client(url: str, **options) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20, **options)


def say(text: str, model: str = "tickets", **more) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
