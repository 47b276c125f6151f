"""What the model so far answered: its words on the task's own rows, as its logs told them, to hold others against.

An answer of it is no truth. Where a row's label is that very answer the comparison would be circular: `fair` are the
rows whose label came from elsewhere, or that a person looked at.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from insource.collect.take_calls import Fact
from insource.nouns import Dataset, Example, JsonObject, Noun, Task, digest, from_json, to_json
from insource.store import Store

ENTRY = "incumbent"


class Incumbent(Noun, frozen=True, kw_only=True):
    """The answers of the model that does the work today, by the id of the task's row.

    `engine` is the name its logs give it, the commonest where there are several (`engines` counts them). `answers`
    holds one fact a row, the newest; `fair` the ids among them whose label is not merely that answer. `input_tokens`,
    `output_tokens`, `usd` and `latency_ms` are means of a call over all calls whose log says them, `first` and `last`
    when they were made (UTC, ISO 8601); each is None or "" where no log says it. `calls` counts every call that was
    read, also of texts that are no row.
    """

    task: str
    dataset: str
    engine: str
    engines: dict[str, int]
    answers: dict[str, Fact]
    fair: frozenset[str]
    calls: int
    input_tokens: float | None = None
    output_tokens: float | None = None
    usd: float | None = None
    latency_ms: float | None = None
    first: str = ""
    last: str = ""


async def incumbent(task: Task, store: Store, dataset: str | None = None) -> Incumbent | None:
    """What the task's incumbent answered to the rows of a dataset, the newest without one; None where no log was read.

    Raises `Missing` for an unknown dataset, `StoreError` when a blob is damaged.
    """
    kept = await store.dataset(task.name)
    if kept is None:
        return None
    said = {line for sha in _blobs(kept) for line in store.blobs.get(sha).splitlines()}
    facts = [from_json(line, Fact) for line in sorted(said)]
    if not facts:
        return None
    name = dataset or kept.id
    return compared(task, name, await store.examples(name), facts)


def compared(task: Task, dataset: str, rows: Sequence[Example], facts: Sequence[Fact]) -> Incumbent:
    """The facts put beside the rows. Pure."""
    newest: dict[str, Fact] = {}
    for fact in sorted(facts, key=lambda one: one.created):
        newest[fact.input] = fact
    by_row = {row.id: newest.get(digest(row.input.encode("utf-8", "surrogatepass"))) for row in rows}
    answers = {row: fact for row, fact in by_row.items() if fact is not None}
    engines = Counter(fact.engine for fact in facts if fact.engine)
    made = sorted(fact.created for fact in facts if fact.created)
    return Incumbent(
        task=task.name,
        dataset=dataset,
        engine=engines.most_common(1)[0][0] if engines else "",
        engines=dict(engines.most_common()),
        answers=answers,
        fair=frozenset(row.id for row in rows if row.id in answers and row.origin != "teacher"),
        calls=len(facts),
        input_tokens=_mean(fact.input_tokens for fact in facts),
        output_tokens=_mean(fact.output_tokens for fact in facts),
        usd=_mean(fact.usd for fact in facts),
        latency_ms=_mean(fact.latency_ms for fact in facts),
        first=made[0] if made else "",
        last=made[-1] if made else "",
    )


def with_entry(lineage: tuple[JsonObject, ...], facts: Sequence[Fact], store: Store) -> tuple[JsonObject, ...]:
    """The lineage with the facts of these calls, which become a blob first. Raises `StoreError`."""
    if not facts:
        return lineage
    sha = store.blobs.put(b"".join(sorted(to_json(fact) + b"\n" for fact in facts)))
    rest = tuple(one for one in lineage if one.get(ENTRY) != sha)
    return (*rest, {ENTRY: sha, "sha256": sha, "calls": len(facts)})


def _blobs(dataset: Dataset) -> list[str]:
    return [str(one[ENTRY]) for one in dataset.lineage if ENTRY in one]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def told(one: Incumbent) -> JsonObject:
    """The same without its answers, as documents show it."""
    shown = {name: getattr(one, name) for name in one.__struct_fields__ if name not in ("answers", "fair")}
    built: JsonObject = msgspec.to_builtins({**shown, "answered": len(one.answers), "fair": len(one.fair)})
    return built
