"""Governance: whose tasks these are, where their text may go and went, who may come in, and is the record whole."""

from starlette.responses import Response

from insource.console.guard import Visit
from insource.console.pages import page
from insource.errors import InsourceError
from insource.journeys import audit
from insource.journeys.audit import Audit, checkpoint_file
from insource.journeys.egress import report
from insource.journeys.govern import Standing, standing
from insource.journeys.keys import moment
from insource.nouns import Key, Task
from insource.nouns.key import State
from insource.settings import Settings, load_task
from insource.store import Store, checkpoints
from insource.store.links import SPAN

KEYS = 50


async def show(visit: Visit) -> Response:
    """The page. With `verify` the whole audit chain is looked at first, a second for each 100,000 calls.

    With `evidence`, a task's name, it has that task's checklist.
    """
    store, settings = visit.store, visit.settings
    heads = await store.chain_heads()
    keys = (await store.keys())[0] if "admin" in visit.key.roles else []
    return page(
        visit,
        "governance.html",
        tasks=[task for name in visit.tasks if (task := _readable(settings, name)) is not None],
        engines=settings.engines,
        left=await report(settings),
        entries=sum(head.seq % SPAN for head in heads),
        chains=len(heads),
        span=SPAN,
        head=heads[0],
        signed=checkpoints.last(checkpoint_file(settings)),
        verified=await _verified(visit) if visit.query("verify") else None,
        evidence=await _evidence(visit, visit.query("evidence")),
        keys=_first(keys, moment()),
        earlier=max(0, len(keys) - KEYS),
        keep=settings.audit,
        open=visit.house.ring.open,
    )


def _first(keys: list[Key], now: str) -> list[tuple[Key, State]]:
    """Keys with their state: those that open something before those that were ended, the newest of each first."""
    told = [(key, key.state(now)) for key in reversed(keys)]
    return sorted(told, key=lambda one: one[1] != "active")[:KEYS]


async def _verified(visit: Visit) -> Audit:
    """The look at every entry, one at a time and on a connection of its own: nobody else waits for it."""
    async with visit.house.verifying, await Store.open(visit.settings) as apart:
        return await audit.verify(visit.settings, apart)


async def _evidence(visit: Visit, name: str) -> Standing | None:
    """The checklist of a task that may be seen, looked up one at a time; None where none was asked for."""
    if name not in visit.tasks:
        return None
    async with visit.house.verifying, await Store.open(visit.settings) as apart:
        return await standing(name, visit.settings, apart)


def _readable(settings: Settings, name: str) -> Task | None:
    """The task; None where its file cannot be read, which the overview says."""
    try:
        return load_task(settings, name)
    except InsourceError:
        return None
