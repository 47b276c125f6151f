"""Calls: found by what is known of them, and one of them with every decision explained. No page holds a call's text.

A text is kept only of what a person is to see, and shown only to those who may review.
"""

from typing import get_args

from starlette.responses import RedirectResponse, Response

from insource.console.guard import REVIEWER, Visit
from insource.console.pages import address, page
from insource.errors import Invalid, Missing
from insource.nouns import Outcome, Record
from insource.store.search import Judged, Wanted

PAGE = 50


async def find(visit: Visit) -> Response:
    """The newest calls, or those that are looked for. A record's id leads straight to it."""
    if visit.query("record"):
        return RedirectResponse(f"/console/calls/{visit.query('record')[:64]}", 303)
    wrong, wanted = "", _wanted_of(visit)
    try:
        wanted = _wanted(visit)
    except Invalid as error:
        wrong = f"{error}: {error.hint}"
    found = await visit.store.find(wanted, below=visit.place(), limit=PAGE)
    given = {name: visit.query(name) for name in ("task", "outcome", "release", "since", "until", "below")}
    return page(
        visit,
        "calls.html",
        status=400 if wrong else 200,
        found=found,
        given=given,
        filtered=any(given.values()),
        older=address("/console/calls", **given, before=found.older) if found.older else "",
        outcomes=get_args(Outcome),
        wrong=wrong,
    )


async def show(visit: Visit) -> Response:
    """One call: what was asked of whom, what came of it and why, and what people said of it."""
    record = await visit.store.record(visit.http.path_params["record"])
    if not _may_see(visit, record):
        raise Missing(f"there is no record {record.id}")
    said = await visit.store.judged(record.id)
    return page(
        visit,
        "call.html",
        record=record,
        trial=await visit.store.trial(record.id),
        said_of=said,
        text=said.pending.input if said.pending and visit.can(REVIEWER) else "",
        waits=_waits(said),
    )


def _may_see(visit: Visit, record: Record) -> bool:
    known = record.task in visit.tasks if record.task else not visit.key.scopes
    return known and visit.tenant in (None, record.tenant)


def _waits(said: Judged) -> bool:
    return said.pending is not None and said.review is None


def _wanted_of(visit: Visit) -> Wanted:
    """All that this key may see."""
    return Wanted(tasks=tuple(visit.tasks) if visit.key.scopes else None, tenant=visit.tenant)


def _wanted(visit: Visit) -> Wanted:
    """What the address asks for. Raises `Invalid`."""
    outcome, below = visit.query("outcome"), visit.query("below")
    if outcome and outcome not in get_args(Outcome):
        raise Invalid(f"{outcome!r} is no outcome", hint=", ".join(get_args(Outcome)))
    try:
        sure = float(below) / 100 if below else None
    except ValueError as error:
        raise Invalid(f"{below!r} is no confidence", hint="per cent, for example 85") from error
    mine = _wanted_of(visit)
    return Wanted(
        task=visit.query("task"),
        outcome=outcome or None,  # type: ignore[arg-type]  # one of them, as was looked at
        release=visit.query("release"),
        since=visit.query("since"),
        until=visit.query("until"),
        below=sure,
        tasks=mine.tasks,
        tenant=mine.tenant,
    )
