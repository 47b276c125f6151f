"""Governance: whose tasks these are, where their text may go and went, who may come in, and is the record whole."""

from starlette.responses import Response

from insource.console.guard import Visit
from insource.console.pages import page
from insource.errors import InsourceError
from insource.journeys import audit
from insource.journeys.audit import checkpoint_file
from insource.journeys.egress import report
from insource.journeys.keys import moment
from insource.nouns import Task
from insource.settings import Settings, load_task
from insource.store import checkpoints


async def show(visit: Visit) -> Response:
    """The page; with `verify` the whole audit chain is looked at first, which takes a second for each 100,000 calls."""
    store, settings = visit.store, visit.settings
    keys = (await store.keys())[0] if "admin" in visit.key.roles else []
    return page(
        visit,
        "governance.html",
        tasks=[task for name in visit.tasks if (task := _readable(settings, name)) is not None],
        engines=settings.engines,
        left=await report(settings),
        head=await store.chain_head(),
        signed=checkpoints.last(checkpoint_file(settings)),
        verified=await audit.verify(settings, store) if visit.query("verify") else None,
        keys=[(key, key.state(moment())) for key in keys],
        keep=settings.audit,
        open=visit.house.ring.open,
    )


def _readable(settings: Settings, name: str) -> Task | None:
    """The task; None where its file cannot be read, which the overview says."""
    try:
        return load_task(settings, name)
    except InsourceError:
        return None
