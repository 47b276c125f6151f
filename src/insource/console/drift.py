"""Drift: is traffic still what the release was made for, and is it still right."""

from starlette.responses import Response

from insource.console.guard import Visit
from insource.console.pages import page
from insource.errors import Conflict
from insource.journeys.watch import WINDOW, watch


async def show(visit: Visit) -> Response:
    """The task's newest calls beside what the release learnt from, and beside the month before."""
    task = visit.task()
    found, nothing = None, ""
    try:
        found = await watch(task, visit.settings, visit.store)
    except Conflict as error:
        nothing = f"{error}. {error.hint}"
    waiting = await visit.store.listings.waiting(task.name, visit.tenant)
    return page(visit, "drift.html", task=task, found=found, nothing=nothing, window=WINDOW, waiting=waiting)
