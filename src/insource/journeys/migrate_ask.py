"""One candidate is asked every sampled row, and each answer is kept; and back: from kept answers to figures."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from insource.errors import InsourceError
from insource.journeys.lineup import SHOTS, Lineup, engine_of
from insource.journeys.measure import contender, shown
from insource.journeys.migrate_budget import call_tokens, out_of
from insource.journeys.migrate_kept import Kept, get_lines, put_lines
from insource.journeys.teacher import usd
from insource.measure import About, Answer, Contender
from insource.measure.figures import metrics
from insource.measure.report import assemble
from insource.measure.run import Answered, Run, ask_all
from insource.nouns import Example, Prediction, Report, Task, Usage, digest
from insource.nouns.assessment import Asked, Criteria, Line, Times
from insource.store import Store
from insource.store.stored import stored

Placed = Sequence[tuple[int, Example]]
Assemble = Callable[[Task, Sequence[Contender], dict[str, Run], dict[str, str], About], Report]


async def asked(kept: Kept, name: str, rows: Placed) -> Asked:
    """What `name` answers to `rows`. Who cannot be opened, goes down or costs too much is kept as failed."""
    lineup = Lineup(kept.settings, kept.store, kept.task, progress=kept.progress)
    chosen = await contender(name, lineup, kept.dataset, SHOTS, None)
    about = Asked(candidate=name, kind=chosen.kind, priced=chosen.priced, fingerprint=chosen.fingerprint)
    kept.progress(f"opening {name}", 0, len(rows))
    engine = engine_of(name, kept.settings.engines)
    told = kept.task
    try:
        if engine and engine != name:
            told = await shown(engine, lineup, kept.dataset, SHOTS)
            about = msgspec.structs.replace(about, instruction=told.instruction)
        async with chosen.open() as answer:
            if engine and (each := usd(kept.settings.engines[engine], call_tokens(told, [row for _, row in rows]))):
                answer = out_of(kept.purse, name, each, len(rows), answer)
            run = await ask_all(kept.task, rows, answer, what=name, progress=kept.progress)
    except InsourceError as error:
        return msgspec.structs.replace(about, failed=f"{error} ({error.hint})" if error.hint else str(error))
    except ModuleNotFoundError as error:
        why = f"a package is missing: {error.name} (pip install 'insource[train]')"
        return msgspec.structs.replace(about, failed=why)
    return keep(kept.store, kept.task, about, run)


def keep(store: Store, task: Task, about: Asked, run: Run) -> Asked:
    """Keeps a run's answers and its times, each as a blob of its own: what was said is the same the next time."""
    scorer = next(metric.scorer for metric in metrics(task) if metric.kind == "share")
    assert scorer is not None  # noqa: S101 - a share has one
    lines = []
    for row in run.rows:
        said = row.prediction
        if said is None:
            lines.append(Line(row=row.example.id, error=row.error))
            continue
        lines.append(Line(
            row=row.example.id,
            value=said.value,
            confidence=said.confidence,
            correct=scorer(row.example, said),
            finish=said.finish,
            input_tokens=said.usage.input_tokens,
            output_tokens=said.usage.output_tokens,
            usd=row.usd,
            given=row.given,
            threshold=row.threshold,
        ))  # fmt: skip
    each = tuple(row.prediction.latency_ms if row.prediction else 0.0 for row in run.rows)
    times = Times(alone=run.latencies_ms, each=each, rows_per_s=run.rows_per_s)
    answers = put_lines(store, list(lines))
    return msgspec.structs.replace(about, answers=answers, times=put_lines(store, [times]))


def again(store: Store, about: Asked, rows: Placed) -> Run:
    """The run of which the answers were kept. `rows` are those that may have been asked, with their places."""
    placed = {example.id: (place, example) for place, example in rows}
    (times,) = get_lines(store, about.times, Times)
    found = []
    for line in get_lines(store, about.answers, Line):
        place, example = placed[line.row]
        said = _prediction(about.candidate, line)
        found.append(Answered(place, example, said, line.usd, line.error, line.given, line.threshold))
    return Run(tuple(found), times.alone, times.rows_per_s)


def _prediction(name: str, line: Line) -> Prediction | None:
    if line.error:
        return None
    return Prediction(
        text="",
        value=line.value,
        engine=name,
        confidence=line.confidence,
        usage=Usage(input_tokens=line.input_tokens, output_tokens=line.output_tokens),
        finish=line.finish or "stop",  # type: ignore[arg-type]
    )


def reported(
    store: Store, task: Task, found: Sequence[Asked], rows: Placed, about: tuple[About, str], made: Assemble = assemble
) -> Report:
    """The report of kept answers; `about` is what it says of its making, and when the run began.

    The same answers give the same report, to the last byte.
    """
    runs = {one.candidate: again(store, one, rows) for one in found if not one.failed}
    failed = {one.candidate: one.failed for one in found if one.failed}
    names = [Contender(one.candidate, one.kind, _closed, None, one.priced, one.fingerprint) for one in found]
    report = made(task, names, runs, failed, about[0])
    report = msgspec.structs.replace(report, id="", created=about[1])
    return msgspec.structs.replace(report, id=digest(report))


def _closed() -> AbstractAsyncContextManager[Answer]:
    raise AssertionError("kept answers are not asked again")


def criteria_of(store: Store, sha: str) -> Criteria:
    """The criteria of a run."""
    return stored(store.blobs.get(sha), Criteria)
