"""From a task's name to the engines that answer it: the live release, then the help its policy names."""

import asyncio

import msgspec

from insource.engines.artefact import read_manifest
from insource.engines.ray_cluster import Cluster
from insource.engines.shared_base import Bases
from insource.errors import InsourceError, Missing, StoreError
from insource.journeys.again import scope_of, wanted
from insource.journeys.answer import Path, Tier
from insource.journeys.lineup import Lineup, Progress, quiet
from insource.journeys.plan import Plan, policy_of, usual_tiers
from insource.journeys.scanned import open_scans
from insource.journeys.sign import must_be_signed
from insource.journeys.terms import Agreed, agreed, tightened
from insource.nouns import Release, Task
from insource.release.shared import here
from insource.review import rarity
from insource.route import RELEASE, reachable
from insource.settings import Settings, load_task, task_file, task_names
from insource.store import Store
from insource.watch.vocabulary import Vocabulary


async def open_path(
    task: str, settings: Settings, store: Store, *, progress: Progress = quiet, bases: Bases | None = None,
    cluster: Cluster | None = None,
) -> Path:  # fmt: skip
    """The path of `task`, or of `task@version` to pin one. Close it with `close_path`.

    Paths opened with the same `bases` share base networks, where the settings say so. What would compute in this
    process does so on the `cluster` where there is one. Raises `Missing` when no release
    is live, with the command that makes one so; `Refused` for a changed artefact, and for one that nobody trusted has
    signed where the settings ask for it; `EngineDown` when the task is to be
    scanned and what scans is not installed; what `release.shared.here` does where it is fetched first.
    """
    name, _, version = task.partition("@")
    asked, file = load_task(settings, name), task_file(settings, name)[1]
    release = await store.release(name, version) if version else await _live(name, store)
    await here(release, settings, store.place, progress)
    await must_be_signed(release, settings)
    manifest = await asyncio.to_thread(read_manifest, settings.state / release.folder)
    served = as_served(manifest.task, asked)
    scans = await asyncio.to_thread(open_scans, served.scan)
    lineup = Lineup(settings, store, served, progress=progress, bases=bases, cluster=cluster)
    policy = policy_of(settings)
    choices = reachable(served, policy)
    tiers = {choice.engine: configured_tier(choice.engine, lineup) for choice in choices if choice.allowed}
    risk = task_file(settings, name)[1].risk
    terms = await asyncio.to_thread(agreed, served, risk, manifest, settings.state / release.folder)
    tiers[RELEASE] = Tier(await asyncio.to_thread(lineup.release, release), release.name, terms=terms.terms)
    usual = usual_tiers(served, policy, tiers)
    path = Path(
        task=served,
        tiers=usual,
        threshold=terms.threshold,
        key=store.tenant_key,
        intend=store.intend,
        refused=tuple(choice for choice in choices if not choice.allowed),
        choose=await asyncio.to_thread(Plan.of, served, policy, tiers) if served.routes else None,
        spare=tuple(tier for tier in tiers.values() if tier not in usual),
        scans=scans,
        scope=_scope(served, release, settings, terms),
        audit=file.risk.audit,
        double=file.review.double,
        rare=await _rare(served, release, store),
        vocabulary=await vocabulary_of(release, store),
    )
    return tightened(path, await store.tightened(release.name))


async def open_live(
    settings: Settings, store: Store, *, progress: Progress = quiet, bases: Bases | None = None
) -> tuple[dict[str, Path], dict[str, InsourceError]]:
    """The paths of every task that has a live release, and what stands in the way of the others, by task."""
    bases = bases or Bases(settings.cache)
    paths: dict[str, Path] = {}
    problems: dict[str, InsourceError] = {}
    for name in task_names(settings):
        try:
            paths[name] = await open_path(name, settings, store, progress=progress, bases=bases)
        except InsourceError as error:
            problems[name] = error
    return paths, problems


def open_passthrough(name: str, settings: Settings, store: Store, bases: Bases | None = None) -> Path:
    """The path of an engine of insource.toml, then of those in its `else`, with no task: their words are passed on.

    Raises `Missing`, `Invalid`.
    """
    names = (name, *(settings.engines[name].otherwise if name in settings.engines else ()))
    unknown = next((one for one in names if one not in settings.engines), None)
    if unknown is not None:
        raise Missing(f"there is no engine {unknown!r}", hint="engines are named in insource.toml")
    scans = open_scans(settings.scan)
    lineup = Lineup(settings, store, Task(name="passthrough", kind="generate", scan=settings.scan), bases=bases)
    tiers, seconds = tuple(configured_tier(one, lineup) for one in names), settings.engines[name].timeout_s
    engine, asked = settings.engines[name], [settings.engines[one] for one in names]
    kept = wanted(engine.cache, settings.answers, anywhere=not engine.place)
    scope = scope_of(names, asked, settings.scan) if kept else ""
    return Path(
        task=None, tiers=tiers, key=store.tenant_key, intend=store.intend, deadline=seconds, scans=scans, scope=scope
    )


def configured_tier(name: str, lineup: Lineup) -> Tier:
    """An engine of insource.toml with its prices."""
    engine = lineup.settings.engines[name]
    return Tier(lineup.configured(name), usd_per_million=(engine.usd_per_million_input, engine.usd_per_million_output))


async def close_path(path: Path) -> None:
    """Closes the path's engines."""
    for tier in (*path.tiers, *path.spare):
        await tier.engine.close()


def as_served(trained: Task, asked: Task) -> Task:
    """What a release answers: the outputs it was trained for, under the policy that the task has now."""
    return msgspec.structs.replace(
        trained,
        risk=asked.risk,
        routes=asked.routes,
        sensitivity=asked.sensitivity,
        acceptance=asked.acceptance,
        owner=asked.owner,
        scan=asked.scan,
    )


async def vocabulary_of(release: Release, store: Store) -> Vocabulary | None:
    """The words of the rows that the release was taught; None where they are elsewhere, as those of a bundle are."""
    try:
        rows = await store.examples(release.dataset, "train")
    except Missing:
        return None
    return await asyncio.to_thread(Vocabulary, [row.input for row in rows]) if rows else None


async def _live(task: str, store: Store) -> Release:
    release = await store.live(task)
    if release is not None:
        return release
    known = await store.releases(task)
    hint = (
        f"insource release gate {known[-1].name}, then insource release promote {known[-1].name}"
        if known
        else f"insource train {task} makes a candidate"
    )
    raise Missing(f"{task} has no live release", hint=hint)


async def _rare(task: Task, release: Release, store: Store) -> dict[str, dict[str, float]]:
    """The labels of which the release saw few rows; none are known of where its rows are elsewhere, or gone."""
    if task.kind != "classify":
        return {}
    try:
        rows = await store.examples(release.dataset, "train")
    except (Missing, StoreError):
        return {}
    return rarity(task, (row.target for row in rows))


def _scope(task: Task, release: Release, settings: Settings, terms: Agreed) -> str:
    """What the answers of a task hang on, empty where none is to be given again."""
    anywhere = all(one == "any" for one in (task.sensitivity, *(rule.sensitivity for rule in task.routes)))
    if not wanted(task_file(settings, task.name)[1].cache, settings.answers, anywhere=anywhere):
        return ""
    made = (release.name, release.artefact, release.engine)
    return scope_of(task, (terms.threshold, terms.terms), made, settings.engines, settings.workspace)
