"""Engines with several servers, the servers, and many calls of them."""

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from insource.engines.deployment import Deployment
from insource.engines.outward import Outward
from insource.engines.remote import Remote
from insource.engines.scripted_server import ScriptedServer
from insource.errors import EngineError
from insource.journeys.turnstiles import each_alone, turnstile
from insource.nouns import Message, Request
from insource.settings import EngineSettings

CHILD = Path(__file__).with_name("replica_child.py")
AT_ONCE = 12


def passed(text="hello", deadline=20.0, **more):
    return Request(id="p", messages=(Message(role="user", content=text),), deadline=deadline, **more)


def pool(*urls, kind="vllm", known=None, networks=None, **settings):
    """An engine with these replicas, as a line-up makes it."""
    given = EngineSettings(kind=kind, replicas=urls, model="m", **settings)
    way = networks and Outward("engine r", given.region, networks=networks)
    each = [Remote("r", one, "sk-canary", way) for one in each_alone(given)]
    return Deployment(each[0], turnstile("r", given, {} if known is None else known), *each[1:])


@dataclass(frozen=True)
class Begun:
    """What befell a stream of which words were out."""

    error: EngineError


async def outcome(engine, request=None, *, stream=False):
    """The text of the answer, or the error."""
    items = []
    try:
        if not stream:
            return (await engine.complete(request or passed())).text
        async for item in engine.stream(request or passed()):
            items.append(item)
        return items[-1].text
    except EngineError as error:
        return Begun(error) if items else error


async def under_load(engine, seconds, *, at_once=AT_ONCE, stream=False, during=None):
    """What came of all calls of so many seconds, `at_once` at a time; `during` is done after a third of them."""
    until, said = time.monotonic() + seconds, []

    async def one():
        while time.monotonic() < until:
            said.append(await outcome(engine, stream=stream))

    async def midway():
        await asyncio.sleep(seconds / 3)
        if during is not None:
            await during()

    await asyncio.gather(midway(), *[one() for _ in range(at_once)])
    return said


def lost(said):
    return [one for one in said if not isinstance(one, str)]


@contextmanager
def child(kind="vllm", delay_s=0.02):
    """A server in a process of its own, and its address."""
    process = subprocess.Popen([sys.executable, str(CHILD), kind, str(delay_s)], stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


async def servers(stack, *replies, kind="vllm"):
    """A scripted server for each list of replies."""
    return [await stack.enter_async_context(ScriptedServer(each, kind=kind)) for each in replies]
