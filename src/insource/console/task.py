"""One task: where it stands, its releases with their evidence, what is on trial, and who changed what."""

from starlette.responses import Response

from insource.console.guard import Visit
from insource.console.pages import address, page
from insource.errors import Invalid
from insource.journeys.glance import glance
from insource.journeys.review import figures
from insource.journeys.status import gather, standing
from insource.journeys.trial import standing as trial_of
from insource.release.stages import ON_ITS_WAY, at
from insource.settings import load_rollout

RELEASES, HISTORY = 20, 30


async def show(visit: Visit) -> Response:
    """The task's page; with `at` also what answered at that time, with `before` the releases behind a place."""
    task = visit.task()
    store, settings = visit.store, visit.settings
    found = await store.listings.releases(task.name, RELEASES, visit.place())
    gates = await store.listings.gates([one.name for one in found.releases])
    changes, moved = await store.listings.changes(task.name, HISTORY)
    tried = await store.listings.newest_release(task.name, ON_ITS_WAY)
    moment, then, wrong = visit.query("at"), None, ""
    try:
        then = at(await store.stage_changes(task.name), moment) if moment else None
    except Invalid as error:
        wrong = f"{error}: {error.hint}"
    named = {*[gate.report for gate in gates.values()], *[change.evidence for change in changes]}
    here = f"/console/tasks/{task.name}"
    return page(
        visit,
        "task.html",
        task=task,
        glance=await glance(task, settings, store, visit.tenant),
        people=await figures(task, store),
        where=standing(task, await gather(task, settings, store)),
        found=found,
        older=address(here, before=found.older) + "#releases" if found.older else "",
        gates=gates,
        reports=await store.listings.known_reports(named),
        trial=await trial_of(tried, settings, store) if tried else None,
        rollout=load_rollout(settings, task.name),
        changes=changes[::-1],
        earlier=moved - len(changes),
        moment=moment,
        then=then,
        wrong=wrong,
    )
