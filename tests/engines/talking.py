"""A remote engine and the scripted server behind it, in one call."""

import asyncio

from insource.engines.deployment import Deployment
from insource.engines.remote import Remote
from insource.engines.scripted_server import ScriptedServer
from insource.journeys.turnstiles import turnstile
from insource.nouns import Message, Output, Request, Task, ask
from insource.settings import EngineSettings

TASK = Task(name="topics", kind="classify", outputs=(Output(name="topic", labels=("billing", "delivery (late)")),))


def deployed(settings, key=""):
    """The engine as the gateway asks it: behind a turnstile of its own."""
    return Deployment(Remote("r", settings, key), turnstile("r", settings, {}))


def said_by(kind, replies, request=None, *, stream=False, times=1, key="sk-canary", **settings):
    """What the engine makes of these replies, and the server that gave them."""

    async def story():
        async with ScriptedServer(replies, kind=kind) as server:
            given = {"kind": kind, "base_url": server.base_url, "model": "m", "timeout_s": 5.0}
            engine = deployed(EngineSettings(**(given | settings)), key)
            try:
                for number in range(times):
                    one = request or ask(TASK, "x", id=str(number))
                    said = [item async for item in engine.stream(one)] if stream else await engine.complete(one)
            finally:
                await engine.close()
            return said, server

    return asyncio.run(story())


def passed(text="hello", **more):
    return Request(id="p", messages=(Message(role="user", content=text),), **more)
