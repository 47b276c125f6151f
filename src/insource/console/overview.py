"""The first page: what answers, how well, for how much, and what waits for somebody."""

import asyncio

from starlette.responses import Response

from insource.console.guard import Visit
from insource.console.pages import page
from insource.journeys.glance import NEWEST, Glance, glance
from insource.settings import load_task


async def overview(visit: Visit) -> Response:
    """Every task at a glance."""
    found = await asyncio.gather(*[_glance(visit, name) for name in visit.tasks])
    waiting = sum(one.waiting for one in found)
    saved = [one.saved for one in found if one.saved is not None]
    return page(
        visit,
        "overview.html",
        glances=found,
        alerts=[one for one in await visit.store.open_alerts() if one.task in ("", *visit.tasks)],
        newest=NEWEST,
        waiting=waiting,
        calls=sum(one.calls for one in found),
        usd=sum(one.usd for one in found),
        saved=sum(one.usd for one in saved) - sum(one.usd for one in found) if saved else None,
        dearest=", ".join(dict.fromkeys(one.engine for one in saved)),
    )


async def _glance(visit: Visit, name: str) -> Glance:
    return await glance(load_task(visit.settings, name), visit.settings, visit.store, visit.tenant)
