"""Everything that is known of a task and a release, read from the store and the files: what `govern` writes of.

Nothing is changed and no clock is read, so that the same state gives the same facts. What cannot be read is not there.
"""

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

import msgspec

import insource
from insource.engines.artefact import Manifest, file_digest, read_manifest
from insource.engines.catalogue import listed
from insource.errors import Conflict, InsourceError, Missing
from insource.govern.facts import (
    Base,
    Configured,
    Facts,
    Figure,
    Look,
    Place,
    Proved,
    Recorded,
    Restored,
    Rows,
    Served,
    Signature,
)
from insource.govern.rows import counted
from insource.journeys.audit import checkpoint_file
from insource.journeys.backups import folder_of, proved, sum_of
from insource.journeys.holdout import HOLDOUT, holdout_trend
from insource.journeys.levels import levels
from insource.journeys.pinned import PINNED
from insource.journeys.sign import seal_of
from insource.journeys.terms import agreed
from insource.measure.adversarial import TAG as ADVERSARIAL
from insource.measure.rating import RATED
from insource.nouns import Dataset, Gate, Release, Report, StageChange, Task, stamp, without_folders
from insource.release.stages import former
from insource.route import permitted
from insource.settings import CONFIG, EngineSettings, Settings, load_task, task_file
from insource.store import Store, checkpoints, egress
from insource.watch.holdout import Result

DAYS = 30
DRILL = "drill.json"
OF_ROWS = ("dataset", "labels", "origins", "near_duplicates", "personal_data", "slices", "bias")
OF_SEAL = ("signature",)
OF_CHAIN = ("audit", "checkpoint")
OF_CALLS = ("service_levels", "reviewed")
LIBRARIES = ("numpy", "scikit-learn", "scipy", "torch", "transformers", "safetensors", "tokenizers", "openvino",
             "xllamacpp", "llguidance", "jinja2", "msgspec", "sqlalchemy", "uvicorn", "starlette",
             "cryptography")  # fmt: skip


async def gather(
    name: str, settings: Settings, store: Store, *,
    release: Release | None, gate: Gate | None = None, wanted: Collection[str] | None = None,
) -> Facts:  # fmt: skip
    """The facts of the task called `name` and of `release`; `gate` is one that is not kept yet.

    With `wanted`, what takes a look at every call or row is read only for those fields. Raises as `load_task` does,
    `StoreError` for a damaged store.
    """

    def needs(fields: Collection[str]) -> bool:
        return wanted is None or not set(wanted).isdisjoint(fields)

    task = load_task(settings, name)
    manifest = await asyncio.to_thread(_manifest, release, settings)
    gate = gate or (await _gate(release, store) if release else None)
    dataset = await _dataset(task, release, store)
    changes = tuple(await store.stage_changes(name))
    live = await store.live(name)
    return Facts(
        task=task,
        configured=_configured(settings, task),
        declared=tuple(await store.declarations.all(name)),
        release=release,
        manifest=manifest,
        trained_s=await asyncio.to_thread(_trained, release, settings),
        base=_base(manifest),
        dataset=dataset,
        signature=await _signature(release, settings) if release and needs(OF_SEAL) else None,
        restored=await asyncio.to_thread(_restored, settings),
        proved=await asyncio.to_thread(_proved, settings),
        rows=await _rows(task, dataset, store) if dataset and needs(OF_ROWS) else None,
        gate=gate,
        report=await _report(release, gate, store) if release else None,
        changes=changes,
        tightened=await store.tightened(release.name) if release else None,
        made=tuple((one.name, one.created) for one in await store.releases(name)),
        live=live.name if live else "",
        before=_before(changes, live),
        egress=await asyncio.to_thread(_egress, settings),
        recorded=await _recorded(settings, store) if needs(OF_CHAIN) else None,
        served=await _served(name, settings, store) if needs(OF_CALLS) else None,
        looks=tuple([_look(one) for one in (await holdout_trend(task, store)).results]),
        keys=await _keys(store),
        libraries=_libraries(),
        code=f"insource {insource.__version__}",
        **await asyncio.to_thread(_terms, task, release, manifest, settings),
    )


async def about(name: str, version: str, store: Store) -> Release | None:
    """The release that is meant: the one named, else what is live, else the newest. Raises `Missing`."""
    if version:
        return await store.release(name, version)
    return await store.live(name) or await store.listings.newest_release(name)


def aside(split: str) -> bool:
    """Whether a report on that split is none of candidates side by side."""
    return split in (HOLDOUT, PINNED) or split.endswith((f", {ADVERSARIAL}", f", {RATED}"))


def _manifest(release: Release | None, settings: Settings) -> Manifest | None:
    try:
        return read_manifest(settings.state / release.folder) if release else None
    except InsourceError:
        return None


class _Terms(TypedDict, total=False):
    demanded: float | None
    terms: tuple[str, ...]


def _terms(task: Task, release: Release | None, manifest: Manifest | None, settings: Settings) -> _Terms:
    """What is demanded of its answers as the task's file is now; nothing where its files were changed."""
    if release is None or manifest is None:
        return {}
    try:
        found = agreed(task, task_file(settings, task.name)[1].risk, manifest, settings.state / release.folder)
    except InsourceError:
        return {}
    return {"demanded": found.threshold, "terms": found.words}


class _History(msgspec.Struct, frozen=True):
    """What training notes of itself, as far as it is wanted here."""

    seconds: float
    prepared: float


def _trained(release: Release | None, settings: Settings) -> tuple[float, float] | None:
    """How long training and its preparation took; None where the artefact does not say."""
    if release is None:
        return None
    try:
        data = (settings.state / release.folder / "history.json").read_bytes()
        found = msgspec.json.decode(data, type=_History)
    except (OSError, msgspec.MsgspecError):
        return None
    return found.seconds, found.prepared


async def _gate(release: Release, store: Store) -> Gate | None:
    """The newest gate that looked at this very artefact."""
    found = [gate for gate in await store.gates(release.name) if gate.artefact == release.artefact]
    return found[-1] if found else None


async def _report(release: Release, gate: Gate | None, store: Store) -> Report | None:
    """The gate's report; where there is none, the newest that has the release."""
    wanted = gate.report if gate else ""
    found = [
        report
        for report in await store.reports(release.task)
        if not aside(report.split) and any(one.candidate == release.name for one in report.candidates)
    ]
    return next((report for report in found if report.id == wanted), found[-1] if found else None)


async def _dataset(task: Task, release: Release | None, store: Store) -> Dataset | None:
    """The dataset that the release was made of; without a release, the task's newest."""
    try:
        return await store.dataset_by_id(release.dataset) if release else await store.dataset(task.name)
    except Missing:
        return None


async def _rows(task: Task, dataset: Dataset, store: Store) -> Rows | None:
    try:
        rows = await store.examples(dataset.id)
    except InsourceError:
        return None
    return await asyncio.to_thread(counted, task, rows)


async def _signature(release: Release, settings: Settings) -> Signature | None:
    """Who of those that the workspace trusts signed the files as they lie there; None where nobody is trusted."""
    if not settings.signing.trusted:
        return None
    try:
        seal = await asyncio.to_thread(seal_of, release, settings)
    except InsourceError as error:
        return Signature(fault=without_folders(str(error)))
    return Signature(key=Path(seal.by).name, fault=without_folders(seal.fault))


class _Drilled(msgspec.Struct, frozen=True):
    """What `journeys.drill` keeps, as far as it is wanted here. That one promotes nothing, but imports who does."""

    at: str
    sha256: str
    records: int
    releases: int
    answers: int
    faults: tuple[str, ...]
    differ: tuple[str, ...]
    upper95: float | None
    recovered_s: float
    lost_s: float


def _restored(settings: Settings) -> Restored | None:
    """The newest restore drill; None where there was none."""
    try:
        found = msgspec.json.decode((settings.state / DRILL).read_bytes(), type=_Drilled)
    except (OSError, msgspec.MsgspecError):
        return None
    said = msgspec.structs.asdict(found)
    return Restored(wrong=len(said.pop("faults")) + len(said.pop("differ")), **said)


def _proved(settings: Settings) -> Proved | None:
    """The newest backup that was restored once; None where there is none."""
    try:
        there = proved(folder_of(settings))
        return Proved(name=there[-1].name, sha256=sum_of(there[-1]), count=len(there)) if there else None
    except OSError:
        return None


def _base(manifest: Manifest | None) -> Base | None:
    one = listed().get(manifest.base) if manifest else None
    if one is None or manifest is None:
        return None
    return Base(name=manifest.base, license=one.license, hub=one.hub, parameters=one.shape.parameters, about=one.about)


def _before(changes: tuple[StageChange, ...], live: Release | None) -> str:
    try:
        return former(changes, live.name) if live else ""
    except Conflict:
        return ""


def _egress(settings: Settings) -> tuple[egress.Egress, ...] | None:
    """What this workspace's own processes did; None where there is no journal."""
    path = settings.state / egress.FILE
    return tuple(egress.read([path])[0]) if path.is_file() else None


async def _recorded(settings: Settings, store: Store) -> Recorded:
    """The chain, looked at whole, and the last checkpoint. Its signature takes the public key, which is elsewhere."""
    verified = await store.verify_chain()
    file = checkpoint_file(settings)
    try:
        last = await asyncio.to_thread(checkpoints.last, file)
    except InsourceError as error:
        return Recorded(verified=verified, against=str(error))
    there = (await store.chain_at([last.seq]))[last.seq] if last else ""
    against = "" if last is None or there == last.hash else "the chain has no such entry: it was cut off or made anew"
    return Recorded(verified=verified, checkpoint=last, against=against)


async def _served(name: str, settings: Settings, store: Store) -> Served | None:
    """What was served in the 30 days up to the newest call."""
    newest = await store.records(name, 1)
    if not newest:
        return None
    until = newest[0].created
    since = stamp((datetime.fromisoformat(until) - timedelta(days=DAYS)).timestamp())
    (found,) = await levels(settings, store, task=name, since=since)
    figures = tuple(
        Figure(name=one.name, value=one.value, low=one.low, high=one.high, n=one.n, target=one.target, kept=one.kept)
        for one in found.levels
    )
    return Served(
        since=since,
        until=until,
        calls=found.calls,
        figures=figures,
        outcomes=await store.outcomes(name, since),
        reviews=len(await store.reviews(name)),
    )


def _look(one: Result) -> Look:
    told = [
        f"{words} {each.value:.1%} ({each.low:.1%} to {each.high:.1%}, n {each.n:,})"
        for words, each in (("drawn by chance", one.by_chance), ("looked at", one.looked_at))
        if each is not None
    ]
    return Look(release=one.release, created=one.created, report=one.report, words="; ".join(told) or "no row")


async def _keys(store: Store) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key in (await store.keys())[0]:
        for role in key.roles if not key.revoked else ():
            counts[role] = counts.get(role, 0) + 1
    return counts


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _sha256(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise Missing(f"{path.name} cannot be read: {error.strerror}") from error


def _place(name: str, engine: EngineSettings, task: Task) -> Place:
    found = permitted(name, engine.place, task.sensitivity)
    return Place(region=engine.place, allowed=found.allowed, reason=found.reason)


def _configured(settings: Settings, task: Task) -> Configured:
    path, file = task_file(settings, task.name)
    return Configured(
        file=_sha256(path),
        workspace=_sha256(settings.root / CONFIG),
        governing=file.govern,
        risk=file.risk,
        review=file.review,
        rollout=file.rollout,
        watch=file.watch,
        levels=file.levels,
        audit=settings.audit,
        backup=settings.backup,
        webhook_host=urlsplit(settings.alerts.webhook).hostname or "",
        engines={name: _place(name, one, task) for name, one in settings.engines.items()},
    )
