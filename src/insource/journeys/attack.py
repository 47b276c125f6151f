"""A task attacked with its own rows: every way they can be spoiled or turned, and what each candidate makes of it.

rows → a sample → the set, from the task alone → contenders, each under the rule that serves → the report, kept.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from insource.engines.artefact import read_manifest
from insource.errors import Invalid
from insource.journeys.lineup import SHOTS, Lineup, quiet
from insource.journeys.measure import SPLIT, UNTUNED, Plan, about, check_names, contender, fitting, rows_of
from insource.measure import Contender
from insource.measure.adversarial import CLEAN, CONTEXT, TAG, adversarial
from insource.measure.attacked import attacked
from insource.measure.report import asked
from insource.measure.run import sample
from insource.nouns import Example, Report, Task
from insource.settings import Settings
from insource.store import Store

ROWS, UNTUNED_ROWS = 200, 10


class Attack(Plan, total=False):
    """What to measure, and texts that are `outside` the task, instead of the general ones."""

    outside: Sequence[str]


async def attack(task: Task, settings: Settings, store: Store, **plan: Unpack[Attack]) -> Report:
    """Measures `task` on its adversarial set and keeps the report. Raises what `measure` raises.

    Of `rows` (default 200; an untuned model, which is slow and asked only by name, gets 10) each is asked as it is and
    in every way. The same rows make the same set.
    """
    split, progress = plan.get("split", SPLIT), plan.get("progress", quiet)
    dataset, examples = await rows_of(task, store, split)
    lineup = Lineup(settings, store, task, progress=progress)
    chosen = list(plan.get("candidates") or ())
    tuned = [name for name in await lineup.names() if not name.startswith(UNTUNED)]
    await check_names(chosen, lineup)
    names, rows = chosen or fitting(task, tuned), plan.get("rows")
    contenders = [await contender(name, lineup, dataset, plan.get("shots", SHOTS), rows) for name in names]
    picked = [row for _, row in sample(task, examples, rows or ROWS)]
    made = adversarial(task, picked, outside=plan.get("outside") or (), context=await _context(names, lineup))
    untuned = {row.id for _, row in sample(task, picked, rows or UNTUNED_ROWS)}

    def asks(who: Contender) -> list[tuple[int, Example]]:
        placed = list(enumerate(made))
        return [one for one in placed if who.kind not in UNTUNED or not one[1].group or one[1].group in untuned]

    runs, failed = await asked(task, contenders, asks, progress=progress)
    notes = _notes(made, len(picked), len(examples))
    report = attacked(task, contenders, runs, failed, about(dataset, f"{split}, {TAG}", notes))
    await store.save_report(report)
    return report


def texts(path: Path) -> list[str]:
    """The texts of a file, one a line. Raises `Invalid` for one without any, or that cannot be read."""
    try:
        found = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}", hint="a text file, one text a line") from error
    if not found:
        raise Invalid(f"{path} holds no text", hint="one text a line")
    return found


async def _context(names: Sequence[str], lineup: Lineup) -> int:
    """The tokens that the releases among the candidates read at once, the fewest of them."""
    found = []
    for name in names:
        task, at, version = name.partition("@")
        if at and not task.startswith(UNTUNED):
            release = await lineup.store.release(task, version)
            found.append(read_manifest(lineup.settings.state / release.folder).max_tokens)
    return min(found, default=CONTEXT)


def _notes(made: Sequence[Example], rows: int, total: int) -> list[str]:
    ways = len({row.tags[TAG] for row in made} - {CLEAN})
    which = f"{rows:,} of {total:,} rows, stratified (seed 0)," if rows < total else f"All {total:,} rows"
    return [f"{which} were asked as they are and in {ways} ways, {len(made):,} texts in all."]
