"""Whether a task should move, in six steps and one verdict, top to bottom.

sample → acceptance criteria, hashed before any result → candidates without training → the best fine-tuned → an
adversarial set → load; then cost at the measured rates, and the verdict.

Each piece of work is kept by its SHA-256 when it is done (`migrate_kept`): killed anywhere, the same call goes on. What
the report says is told from what was kept and nothing else (`migrate_told`), so that it can be told again (`replay`).
"""

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from insource.engines.artefact import Manifest, read_manifest
from insource.errors import InsourceError
from insource.journeys.lineup import engine_of, quiet
from insource.journeys.load import Wanted as Loaded
from insource.journeys.load import load
from insource.journeys.measure import UNTUNED
from insource.journeys.migrate_ask import asked
from insource.journeys.migrate_begin import Wanted, begin, variants
from insource.journeys.migrate_facts import ASKED, HARDER, LOAD, TRAINED
from insource.journeys.migrate_kept import Kept, Progress, Say, get_lines, put_lines
from insource.journeys.migrate_log import LOG, of_log
from insource.journeys.migrate_prices import prices
from insource.journeys.migrate_told import told
from insource.journeys.suitability import suitability
from insource.journeys.train import LINEAR, train
from insource.measure.adversarial import TAG, adversarial
from insource.measure.load import Load
from insource.measure.run import sample
from insource.nouns import PREMISES, Example, Release, Scan, Task, digest, to_json
from insource.nouns.assessment import Asked, Assessed, Finalist, Line, Names, Prices, Rows
from insource.nouns.suitability import Suitability
from insource.release.shared import here
from insource.settings import Settings
from insource.store import Store
from insource.store.files import alone, write_whole
from insource.store.stored import stored
from insource.train.promise import NOT_YET

STEPS = ("sample", "criteria", "candidates", "fine-tuning", "adversarial", "load", "verdict")
MOST_BASES = 2


async def migrate(
    task: Task, settings: Settings, store: Store, wanted: Wanted, *,
    speak: tuple[Say, Progress] = (lambda _: None, quiet),
) -> Assessed:  # fmt: skip
    """Takes the task through the six steps and gives the report, which is kept.

    Killed anywhere, the same call goes on; called again when it is done, it gives the same report. Raises `Invalid`
    without rows to decide on, `Conflict` while it runs already, `StoreError` when the disk is full.
    """
    with alone(settings.state / "locks" / f"migrate-{digest(task.name)[:16]}", f"insource migrate {task.name}"):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        kept = await begin(task, settings, store, wanted, now, speak)
        _say(kept, 1, f"{kept.criteria.rows:,} of {kept.criteria.of:,} test rows, ±{kept.criteria.half_width:.1%}")
        _say(kept, 2, f"{kept.run.id[:12]}, fixed before any result")
        await once_more(kept)
        if kept.run.report:
            kept.say("all of it was done before: this is its report")
            return msgspec.json.decode(store.blobs.get(kept.run.report), type=Assessed)
        await kept.piece("prices", Prices, partial(prices, task, settings, store, now[:10]))
        await kept.piece("suitability", Suitability, partial(suitability, task, settings, store))
        await candidates(kept)
        await fine_tuned(kept)
        await hardened(kept)
        await loaded(kept)
        if kept.purse.spent:
            kept.say(f"engines cost ${kept.purse.spent:,.4f} {kept.purse.of}".rstrip() + " this time")
        _say(kept, 7, "costs at the measured rates, and the verdict")
        return await concluded(kept)


async def once_more(kept: Kept) -> None:
    """Who failed, for a server was down or a package not there, is to be asked again: the rest stays as it is."""
    failed = [name for name, sha in kept.run.pieces.items() if sha and _failed(kept, name, sha)]
    if failed:
        kept.say(f"tried again, for it failed: {', '.join(failed)}")
        kept.run = await kept.store.assessments.reopen(kept.run.id, failed)


def _failed(kept: Kept, name: str, sha: str) -> bool:
    first = name.partition("/")[0]
    if first in (ASKED, HARDER):
        return bool(stored(kept.store.blobs.get(sha), Asked).failed)
    if first == LOAD:  # of no calls, or with no answer to any: nothing is known of what it bears
        return not any(step.answered for step in stored(kept.store.blobs.get(sha), Load).steps)
    return first == TRAINED and bool(stored(kept.store.blobs.get(sha), Finalist).failed)


async def candidates(kept: Kept) -> None:
    """Everyone who needs no training answers the sample: untuned models of this process a part, for they are slow."""
    _say(kept, 3, ", ".join(kept.criteria.candidates))
    few = sample(kept.task, [row for _, row in kept.rows], kept.criteria.untuned_rows)
    part = [kept.rows[place] for place, _ in few]
    for name in kept.criteria.candidates:
        rows = part if name.partition(":")[0] in UNTUNED else kept.rows
        await kept.piece(f"{ASKED}/{name}", Asked, partial(asked, kept, name, rows))
    if kept.criteria.incumbent.startswith(LOG):
        await kept.piece(f"{ASKED}/{kept.criteria.incumbent}", Asked, partial(of_log, kept))


async def fine_tuned(kept: Kept) -> None:
    """The linear baseline as a release and the best bases fine-tuned; each answers the sample as it is served."""
    bases = await _best_bases(kept)
    _say(kept, 4, ", ".join(bases) or f"nothing: a task to {kept.task.kind} is not trained")
    for base in bases:
        made = await kept.piece(f"{TRAINED}/{base}", Finalist, partial(_trained, kept, base))
        if made.release:
            name = made.release
            await kept.piece(f"{ASKED}/{name}", Asked, partial(asked, kept, name, kept.rows))


async def hardened(kept: Kept) -> None:
    """Those who could take over, and the incumbent, answer an adversarial set of the same rows."""
    names = await _serious(kept)
    _say(kept, 5, ", ".join(names) or "nobody could take over")
    rows = await kept.piece("adversarial", Rows, partial(_harder, kept))
    examples = list(enumerate(get_lines(kept.store, rows.sha, Example)))
    for name in names:
        await kept.piece(f"{HARDER}/{name}", Asked, partial(asked, kept, name, examples))


async def loaded(kept: Kept) -> None:
    """What runs on the premises is loaded until it is too much. An API of others is not: its owner would pay for it."""
    names = [name for name in await _serious(kept) if _ours(kept, name)]
    _say(kept, 6, ", ".join(names) or "nothing that is one's own")
    for name in names:
        wanted = Loaded(candidate=name, seconds=kept.criteria.load_s)
        await kept.piece(f"{LOAD}/{name}", Load, partial(_load, kept, wanted))


async def concluded(kept: Kept) -> Assessed:
    """The report, told from what was kept, and noted as the run's last piece."""
    runs = await kept.store.assessments.of_task(kept.task.name)
    before = [run.id for run in runs if run.id != kept.run.id and run.pieces and run.created < kept.run.created]
    await kept.piece("before", Names, partial(_names, before))
    found = told(kept.store, kept.run, kept.rows)
    for report in found.measured:
        await kept.store.save_report(report)
    sha = kept.store.blobs.put(to_json(found.assessed))
    kept.run = await kept.store.assessments.finish(kept.run.id, sha, found.assessed.verdict.word)
    return found.assessed


async def _best_bases(kept: Kept) -> list[str]:
    """The linear engine where it can choose, and the bases that answer best as they come, untrained."""
    if kept.task.kind == "generate":
        return []
    scores = {
        base: max(_right(kept, f"{kind}:{base}") for kind in UNTUNED) for base in kept.criteria.bases if base != LINEAR
    }
    best = sorted(scores, key=lambda base: -scores[base])[:MOST_BASES]
    return [LINEAR, *best] if kept.task.kind == "classify" else best


def _right(kept: Kept, name: str) -> float:
    """The share of its answers that are right, 0 where there are none."""
    found = _kept_answers(kept, name)
    lines = get_lines(kept.store, found.answers, Line) if found is not None and not found.failed else []
    marks = [line.correct for line in lines if line.correct is not None]
    return sum(marks) / len(marks) if marks else 0.0


async def _trained(kept: Kept, base: str) -> Finalist:
    """A release of that base: one that is there of the same rows and recipe, else a new one."""
    task = msgspec.structs.replace(kept.task, scan=Scan())
    release = await _there_already(kept, task, base)
    reused = release is not None
    if release is None:
        recipe = kept.settings.state / "training" / kept.task.name / "migrate.toml"
        write_whole(recipe, _toml(kept.criteria.recipe))
        try:
            release = await train(kept.task, kept.settings, kept.store, base=base, recipe=recipe,
                                  speak=(kept.say, kept.progress))  # fmt: skip
        except (InsourceError, ModuleNotFoundError) as error:
            return Finalist(base=base, failed=str(error))
    manifest = read_manifest(kept.settings.state / release.folder)
    threshold = kept.task.risk.threshold if kept.task.risk.threshold is not None else manifest.threshold
    return Finalist(base=base, release=release.name, artefact=release.artefact, threshold=threshold,
                    promise=_promised(kept.task, manifest), reused=reused)  # fmt: skip


def _promised(task: Task, manifest: Manifest) -> bool:
    """Whether the error that is tolerated was promised, where training was to find the confidence for it."""
    if task.risk.max_error is None or task.risk.threshold is not None:
        return True
    known = manifest.unpromised is True or NOT_YET in manifest.promise  # the words alone are older than the flag
    return manifest.threshold is not None and not known


async def _there_already(kept: Kept, task: Task, base: str) -> Release | None:
    engine = LINEAR if base == LINEAR else "torch"
    for release in reversed(await kept.store.releases(task.name)):
        if (release.base, release.dataset, release.engine) != (base, kept.dataset.id, engine):
            continue
        if release.stage != "retired" and not release.left:
            manifest = read_manifest(await here(release, kept.settings, kept.store.place))
            if manifest.task == task and (base == LINEAR or _same_recipe(kept, manifest)):
                return release
    return None


def _same_recipe(kept: Kept, manifest: Manifest) -> bool:
    """Whether it was trained as is wanted now: what the recipe leaves open (0) was derived from the same rows."""
    return all(not wanted or manifest.recipe.get(dial) == wanted for dial, wanted in kept.criteria.recipe.items())


def _toml(recipe: dict[str, Any]) -> str:
    return "".join(f"{name} = {to_json(value).decode()}\n" for name, value in recipe.items())


async def _harder(kept: Kept) -> Rows:
    """The adversarial set of a part of the sample, kept: how it is made may change, what was asked does not."""
    picked = [row for _, row in sample(kept.task, [row for _, row in kept.rows], kept.criteria.hard_rows)]
    made, free = [], Counter[str]()
    for row in adversarial(kept.task, picked):
        free[row.tags[TAG]] += not row.group
        if row.group or free[row.tags[TAG]] <= len(picked):  # of what is no row's own, no more than there are rows
            made.append(row)
    return Rows(sha=put_lines(kept.store, list(made)))


async def _load(kept: Kept, wanted: Loaded) -> Load:
    """The load; of one that cannot be loaded a load that held nothing."""
    try:
        return await load(kept.task, kept.settings, kept.store, wanted, kept.progress)
    except InsourceError as error:
        return Load(task=kept.task.name, candidate=wanted.candidate, url="", split=wanted.split, seed=0,
                    target_ms=0.0, target_of=str(error), steps=(), held=None)  # fmt: skip


async def _serious(kept: Kept) -> list[str]:
    """The releases that were made, and the engines that answered, without and with examples."""
    made = [stored(kept.store.blobs.get(sha), Finalist).release
            for name, sha in kept.run.pieces.items() if sha and name.startswith(f"{TRAINED}/")]  # fmt: skip
    engines = [one for engine in kept.settings.engines for one in variants(engine, kept.settings)]
    names = [*made, *engines]
    return [name for name in names if (one := _kept_answers(kept, name)) is not None and not one.failed]


def _kept_answers(kept: Kept, name: str) -> Asked | None:
    sha = kept.run.pieces.get(f"{ASKED}/{name}")
    return stored(kept.store.blobs.get(sha), Asked) if sha else None


def _ours(kept: Kept, name: str) -> bool:
    engine = engine_of(name, kept.settings.engines)
    return engine is None or kept.settings.engines[engine].place == PREMISES


async def _names(names: list[str]) -> Names:
    return Names(names=tuple(names))


def _say(kept: Kept, number: int, words: str) -> None:
    kept.say(f"{number} of {len(STEPS)} · {STEPS[number - 1]}: {words}")
