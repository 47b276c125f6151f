"""The first page: what answers, how well, for how much, and what waits for somebody."""

import asyncio

from starlette.responses import Response

from insource.console.guard import Visit
from insource.console.pages import page
from insource.errors import InsourceError
from insource.journeys.glance import Glance, glance
from insource.settings import load_task

NEWEST = 500  # calls of each task: of many tasks a few of each say enough, and its own page looks at more


async def overview(visit: Visit) -> Response:
    """Every task at a glance."""
    asked = await asyncio.gather(*[_glance(visit, name) for name in visit.tasks])
    found = [one for one in asked if isinstance(one, Glance)]
    waiting = sum(one.waiting for one in found)
    saved = [one.saved for one in found if one.saved is not None]
    return page(
        visit,
        "overview.html",
        glances=found,
        broken=[one for one in asked if not isinstance(one, Glance)],
        alerts=[one for one in await visit.store.open_alerts() if one.task in ("", *visit.tasks)],
        newest=NEWEST,
        waiting=waiting,
        calls=sum(one.calls for one in found),
        usd=sum(one.usd for one in found),
        saved=sum(one.usd for one in saved) - sum(one.usd for one in found) if saved else None,
        dearest=", ".join(dict.fromkeys(one.engine for one in saved)),
    )


async def _glance(visit: Visit, name: str) -> Glance | str:
    """The task at a glance, or in words what is wrong with its file: one that cannot be read hides no other."""
    try:
        task = load_task(visit.settings, name)
    except InsourceError as error:
        return f"{name}: {error}. {error.hint}"
    return await glance(task, visit.settings, visit.store, visit.tenant, newest=NEWEST)
