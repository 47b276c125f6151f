"""One task: where it stands, its releases with their evidence, what is on trial, and who changed what."""

from starlette.responses import Response

from insource.console.guard import Visit
from insource.console.pages import page
from insource.errors import Invalid
from insource.journeys.glance import glance
from insource.journeys.review import figures
from insource.journeys.status import gather, standing
from insource.journeys.trial import standing as trial_of
from insource.release.stages import at
from insource.settings import load_rollout

HISTORY = 30


async def show(visit: Visit) -> Response:
    """The task's page; with `at` also what answered at that time."""
    task = visit.task()
    store, settings = visit.store, visit.settings
    releases = (await store.releases(task.name))[::-1]
    gates = {one.name: await store.gates(one.name) for one in releases}
    changes = await store.stage_changes(task.name)
    tried = next((one for one in releases if one.stage in ("staging", "shadow", "canary")), None)
    moment, then, wrong = visit.query("at"), None, ""
    try:
        then = at(changes, moment) if moment else None
    except Invalid as error:
        wrong = f"{error}: {error.hint}"
    return page(
        visit,
        "task.html",
        task=task,
        glance=await glance(task, settings, store, visit.tenant),
        people=await figures(task, store),
        where=standing(task, await gather(task, settings, store)),
        releases=releases,
        gates=gates,
        reports={one.id: one for one in await store.reports(task.name)},
        trial=await trial_of(tried, settings, store) if tried else None,
        rollout=load_rollout(settings, task.name),
        changes=changes[::-1][:HISTORY],
        earlier=max(0, len(changes) - HISTORY),
        moment=moment,
        then=then,
        wrong=wrong,
    )
