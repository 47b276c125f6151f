"""Review: one answer, its text and what speaks for it; one key settles it, and the next is there."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
from starlette.responses import Response

from insource.console.guard import Visit, to
from insource.console.pages import page
from insource.errors import Conflict, InsourceError, Invalid, Missing
from insource.journeys.promote import who
from insource.journeys.review import Said, settle, undo
from insource.nouns import JsonObject, Pending, Task, Verdict, to_json
from insource.review import frequent_labels, marked, matching

HELD_S, WITHIN_KEY, CHOICES = 900.0, 9, 500
LEARNT_FROM = 500  # verdicts that say which labels people choose most
VERDICTS: Mapping[str, Verdict] = {
    "right": "right",
    "wrong": "wrong",
    "unsure": "unsure",
    "none": "none_of_these",
}


async def show(visit: Visit) -> Response:
    """The next answer that waits, held for who asks; with `record` that one."""
    return await _show(visit, visit.task())


async def decide(visit: Visit) -> Response:
    """Settles an answer, leaves it for later or takes the last one back; the next page follows."""
    task, form = visit.task(), visit.form
    here, record, act = f"/console/tasks/{task.name}/review", form.get("record", ""), form.get("act", "")
    session, me = visit.session, _me(visit)
    try:
        if act == "undo":
            back = session.last.pop(task.name, "")
            if not back:
                raise Invalid("there is nothing to take back", hint="u takes back what you settled last, once")
            await undo(task, visit.store, back, me)
            session.settled[task.name] = max(0, session.settled.get(task.name, 0) - 1)
            session.said = "taken back: it waits again"
            return to(f"{here}?record={back}")
        if act == "skip":
            await _check_theirs(visit, task, record)
            if record not in (left := session.skipped.setdefault(task.name, [])):
                left.append(record)
            return to(here)
        await _check_theirs(visit, task, record)
        said = _said(task, form, me, (await visit.store.waiting(record)).value)
        await settle(task, visit.store, record, said)
    except InsourceError as error:
        return await _show(visit, task, record, wrong=f"{error}. {error.hint}" if error.hint else str(error))
    session.last[task.name] = record
    session.settled[task.name] = session.settled.get(task.name, 0) + 1
    return to(here)


async def labels(visit: Visit) -> Response:
    """The labels of an output that hold every word of `q`, best first, as JSON."""
    task = visit.task()
    name = visit.query("output") or (task.outputs[0].name if task.outputs else "")
    every = next((output.labels for output in task.outputs if output.name == name), ())
    found = matching(every, visit.query("q"))
    return Response(to_json({"labels": found, "of": len(every)}), media_type="application/json")


async def _show(visit: Visit, task: Task, record: str = "", wrong: str = "") -> Response:
    session, me = visit.session, _me(visit)
    item = await _item(visit, task, record or visit.query("record"), me)
    said = await visit.store.newest_reviews(task.name, LEARNT_FROM, visit.tenant)
    value = item.value or {} if item else {}
    trial = await visit.store.trial(item.record) if item else None
    return page(
        visit,
        "review.html",
        status=409 if wrong else 200,
        task=task,
        item=item,
        pieces=marked(item.input, value if task.kind == "extract" else None) if item else [],
        offers={o.name: frequent_labels(o, item, said, WITHIN_KEY) for o in task.outputs} if item else {},
        sure={name: dict(pairs) for name, pairs in item.alternatives.items()} if item else {},
        search={o.name: matching(o.labels, visit.query(f"q-{o.name}"), CHOICES) for o in task.outputs},
        record=await visit.store.record(item.record) if item else None,
        trial=trial,
        waiting=await visit.store.listings.waiting(task.name, visit.tenant),
        settled=session.settled.get(task.name, 0),
        skipped=len(session.skipped.get(task.name, [])),
        undoable=session.last.get(task.name, ""),
        until=(datetime.now(UTC) + timedelta(seconds=HELD_S)).strftime("%H:%M"),
        held_s=int(HELD_S),
        wrong=wrong,
    )


async def _item(visit: Visit, task: Task, record: str, me: str) -> Pending | None:
    """The item to show, held for this person: the one that was asked for, else the first that was not left."""
    if record:
        with suppress(Conflict, Missing):  # settled, another's or none: then the next one is as good
            await _check_theirs(visit, task, record)
            return await visit.store.hold(record, me, HELD_S)
    skipped = visit.session.skipped.setdefault(task.name, [])
    held = await visit.store.lease(task.name, me, len(skipped) + 1, HELD_S, tenant=visit.tenant)
    fresh = [one for one in held if one.record not in skipped]
    skipped[:] = [one.record for one in held if one.record in skipped]  # what is not held any more was not left here
    if not fresh and held:
        skipped.clear()  # all that is left was left for later: now is later
        fresh = held
    return fresh[0] if fresh else None


async def _check_theirs(visit: Visit, task: Task, record: str) -> None:
    """Raises `Missing` for an answer of another task, or of a tenant that this person may not see."""
    of = await visit.store.record(record)
    if of.task != task.name or visit.tenant not in (None, of.tenant):
        raise Missing(f"there is no record {record}")


def _said(task: Task, form: Mapping[str, str], me: str, proposed: JsonObject | None) -> Said:
    """The word that a form holds. Raises `Invalid` for none."""
    act, note = form.get("act", "choose"), form.get("note", "").strip()
    if act in VERDICTS and act != "wrong":
        return Said(verdict=VERDICTS[act], note=note, reviewer=me)
    if act not in ("wrong", "choose"):
        raise Invalid("what do you say of it?", hint="choose a label, or one of the buttons below")
    correct = _corrected(task, form) if act == "choose" else ()
    if act == "choose" and correct == proposed:
        return Said(verdict="right", note=note, reviewer=me)
    return Said(verdict="wrong", correct=correct, note=note, reviewer=me)


def _corrected(task: Task, form: Mapping[str, str]) -> JsonObject:
    """What was chosen or typed, by field. Values of an extract task are JSON, or text where they are none."""
    found: JsonObject = {}
    properties = (task.schema or {}).get("properties", {})
    for name in task.fields:
        said = form.get(f"other-{name}") or form.get(f"field-{name}", "")
        if task.kind != "extract" or properties.get(name, {}).get("type") == "string":
            found |= {name: said} if said else {}
            continue
        try:
            found[name] = msgspec.json.decode(said) if said.strip() else None
        except msgspec.DecodeError:
            found[name] = said
    if not found:
        raise Invalid("nothing was chosen", hint="choose a label, or type one")
    return {name: value for name, value in found.items() if value is not None}


def _me(visit: Visit) -> str:
    """Whom a lease and a verdict name."""
    return visit.key.name or who()
