"""Promote, and roll back: first what would happen and on what evidence, then the same again with a reason."""

from collections.abc import Sequence

from starlette.responses import Response

from insource.console.guard import Visit, to
from insource.console.pages import page
from insource.errors import Conflict, InsourceError, Invalid, Missing
from insource.journeys.promote import Move as Asked
from insource.journeys.promote import may_move, move, rollback
from insource.nouns import Release, StageChange, Task
from insource.release.stages import MOVES, former, has_passed, next_stop
from insource.settings import load_rollout


async def ask(visit: Visit) -> Response:
    """What may be done with a release, or with what is live; nothing is changed."""
    return await _ask(visit, visit.task(), visit.query("release"))


async def make(visit: Visit) -> Response:
    """Does it. What forbids it is said on the same page, and nothing was changed."""
    task, form = visit.task(), visit.form
    name, why = form.get("release", ""), form.get("why", "").strip()
    try:
        if not why:
            raise Invalid("a change of what answers takes a reason", hint="say why: it stays on record")
        if form.get("to") == "back":
            change = await rollback(task.name, visit.settings, visit.store, why=why, by=visit.key.name)
        else:
            release = await _release(visit, task, name)
            share = int(given) if (given := form.get("share", "")[:4]).isdecimal() else 0
            stop = await may_move(release, visit.settings, visit.store, to=form.get("to", ""), share=share)
            asked = Asked(to=stop, why=why, who=visit.key.name)
            change = await move(release, visit.settings, visit.store, asked)
    except InsourceError as error:
        return await _ask(visit, task, name, wrong=f"{error}. {error.hint}" if error.hint else str(error))
    visit.session.said = f"{change.release}: {change.before} to {change.after}"
    return to(f"/console/tasks/{task.name}")


async def _ask(visit: Visit, task: Task, name: str, wrong: str = "") -> Response:
    release = await _release(visit, task, name) if name else None
    policy = load_rollout(visit.settings, task.name)
    gates = list((await visit.store.listings.gates([release.name])).values()) if release else []
    live = await visit.store.live(task.name)
    return page(
        visit,
        "move.html",
        status=409 if wrong else 200,
        task=task,
        release=release,
        live=live,
        tried=await visit.store.on_trial(task.name),
        behind=_behind(await visit.store.stage_changes(task.name), live),
        moves=MOVES[release.stage] if release else (),
        following=next_stop(release, policy) if release else None,
        policy=policy,
        gate=gates[-1] if gates else None,
        passed=has_passed(release, gates) if release else False,
        why=visit.form.get("why", ""),
        wrong=wrong,
    )


def _behind(changes: Sequence[StageChange], live: Release | None) -> str:
    """What was live before what is, and would be again; "" for nothing."""
    try:
        return former(changes, live.name if live else None)
    except Conflict:
        return ""


async def _release(visit: Visit, task: Task, name: str) -> Release:
    of, _, version = name.partition("@")
    if of != task.name:
        raise Missing(f"{name!r} is no release of {task.name}")
    return await visit.store.release(task.name, version)
