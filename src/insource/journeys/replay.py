"""A run of `migrate` told again from what it kept, and compared with what it said: every figure, to the byte."""

from collections.abc import Iterator
from typing import Any

import msgspec

from insource.errors import InsourceError, Invalid, Missing
from insource.journeys.migrate_ask import criteria_of
from insource.journeys.migrate_kept import get_list
from insource.journeys.migrate_told import told
from insource.nouns import Example, Noun, digest, to_json
from insource.nouns.assessment import Assessed, Assessment
from insource.store import Store

MOST = 20


class Differs(Noun, frozen=True, kw_only=True):
    """A figure of the report that does not come out again: where it stands, as it was said, and as it is told now."""

    at: str
    said: str
    told: str


class Replayed(Noun, frozen=True, kw_only=True):
    """What came of a replay. `same` is True when the report came out again to the byte; else `differs` says where."""

    run: str
    task: str
    report: str
    same: bool
    figures: int
    differs: tuple[Differs, ...] = ()


async def replay(task: str, store: Store, id: str) -> tuple[Replayed, Assessed | None]:
    """Tells the report of the run called `id` (its beginning is enough) again. Raises `Missing` for no such run.

    The second is what is told now, None where too little is left of what was kept.
    """
    return await retold(store, await find(task, store, id))


async def retold(store: Store, run: Assessment) -> tuple[Replayed, Assessed | None]:
    """As `replay`, of a run as the store has it."""
    task = run.task
    try:
        said = store.blobs.get(run.report)
        now = to_json(told(store, run, await _rows(store, run)).assessed)
        said = said if said == now else _as_now(said)
    except InsourceError as error:
        gone = Differs(at="what was kept", said="", told=str(error))
        return Replayed(run=run.id, task=task, report=run.report, same=False, figures=0, differs=(gone,)), None
    before, after = msgspec.json.decode(said), msgspec.json.decode(now)
    found = tuple(differing(before, after))
    same = said == now
    figures = sum(1 for _ in leaves(after))
    if not same and not found:
        found = (Differs(at="the bytes", said=run.report, told=digest(now)),)
    return Replayed(run=run.id, task=task, report=run.report, same=same, figures=figures, differs=found[:MOST]), (
        msgspec.json.decode(now, type=Assessed)
    )


def _as_now(said: bytes) -> bytes:
    """A report as it would be written now: one of before has not all the fields."""
    try:
        return to_json(msgspec.json.decode(said, type=Assessed))
    except (msgspec.ValidationError, msgspec.DecodeError):
        return said


async def find(task: str, store: Store, id: str) -> Assessment:
    """The finished run of the task whose name begins so. Raises `Missing`, `Invalid` where several do."""
    runs = [run for run in await store.assessments.of_task(task) if run.report]
    found = [run for run in runs if run.id.startswith(id) or run.report.startswith(id)]
    if not found:
        known = ", ".join(run.id[:12] for run in runs)
        raise Missing(f"no finished run of {task} begins with {id!r}", hint=f"runs: {known or 'none yet'}")
    if len(found) > 1:
        raise Invalid(f"{len(found)} runs of {task} begin with {id!r}", hint="give more of its digits")
    return found[0]


async def _rows(store: Store, run: Assessment) -> list[tuple[int, Example]]:
    """The sampled rows, drawn again and checked against what the criteria say was drawn."""
    criteria = criteria_of(store, run.id)
    frozen = await store.examples(criteria.dataset, "test")
    wanted = get_list(store, criteria.sample)
    placed = {example.id: (place, example) for place, example in enumerate(frozen)}
    return [placed[one] for one in wanted]


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure and word of a document, with the path to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{at}[{number}]")
    else:
        yield at, value


def differing(said: Any, now: Any) -> Iterator[Differs]:
    """Where two documents differ, in the order of the first."""
    one, other = dict(leaves(said)), dict(leaves(now))
    for at in dict.fromkeys([*one, *other]):
        if one.get(at) != other.get(at) or (at in one) != (at in other):
            yield Differs(at=at, said=_word(one, at), told=_word(other, at))


def _word(of: dict[str, Any], at: str) -> str:
    return msgspec.json.encode(of[at]).decode() if at in of else "nothing"
