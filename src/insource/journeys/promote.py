"""How a release comes to answer traffic, and how it leaves: promote, roll back, and verify what lies on disk.

Each change is one transaction in the store, with who, why and the gate's report as evidence.
"""

import asyncio
import getpass
import time
from pathlib import Path

from insource.engines.artefact import Manifest, read_manifest
from insource.engines.models import find, kept_models, model_faults
from insource.errors import Conflict, InsourceError, Refused
from insource.journeys.govern import check_evidence
from insource.journeys.sign import must_be_signed, seal_of
from insource.nouns import JsonObject, Noun, Release, Stage, StageChange, stamp
from insource.release.integrity import damage
from insource.release.shared import here, there
from insource.release.stages import ON_ITS_WAY, TRIAL, Stop, check_move, check_order, evidence, former, stage_called
from insource.settings import Settings, load_rollout
from insource.store import Store
from insource.store.place import place_of

UPWARD: tuple[Stage, ...] = (*ON_ITS_WAY, "live")


class Verified(Noun, frozen=True, kw_only=True):
    """What `verify` found. `faults` is empty when every file is as released; `base` says the same of the base model.

    `signed` names the key that the signature is of, or says why there is none to name.
    """

    release: str
    artefact: str
    folder: str
    faults: tuple[str, ...]
    base: str
    signed: str = ""

    @property
    def unvouched(self) -> bool:
        """True where nothing but its signature is amiss."""
        return self.faults == (self.signed,)

    @property
    def whole(self) -> bool:
        """True when nothing differs."""
        return not self.faults


class Move(Noun, frozen=True, kw_only=True):
    """Where a release is to go, why, who says so, and the figures on which that was decided without a person."""

    to: Stop
    why: str = ""
    who: str = ""
    found: JsonObject = {}


async def promote(
    release: Release, settings: Settings, store: Store, *, to: str = "live", why: str = "", share: int = 0
) -> StageChange:
    """Moves `release` to the stage `to`, as a canary to `share` per cent; going live retires what was.

    A canary without a share gets the first of the task's `[rollout]` that is above its present one. Going to staging
    or on needs a passed gate on this very artefact and an artefact that is whole. Raises `Invalid` for an unknown
    stage, `Conflict` when the table of stages or the lack of a gate forbids it, `Refused` when the gate said no, the
    files were changed, or the policy lets no stage be left out.
    """
    stop = await may_move(release, settings, store, to=to, share=share)
    return await move(release, settings, store, Move(to=stop, why=why, who=who()))


async def may_move(release: Release, settings: Settings, store: Store, *, to: str, share: int = 0) -> Stop:
    """Where `promote` takes the release; nothing is changed. Raises `Invalid`, `Conflict` and `Refused` as it does."""
    policy = load_rollout(settings, release.task)
    stage = stage_called(to)
    if stage == "canary" and not share:
        share = next((one for one in sorted(policy.canary) if one > release.share), 100)
    stop = Stop(stage=stage, share=share)
    check_move(release, stop)
    now_live = await store.live(release.task)
    if stage in TRIAL and now_live is None:
        raise Conflict(f"nothing of {release.task} is live beside which {release.name} could be tried",
                       hint=f"insource release promote {release.name}")  # fmt: skip
    check_order(release, stop, policy, first=now_live is None)
    return stop


async def move(release: Release, settings: Settings, store: Store, asked: Move) -> StageChange:
    """Makes a move that may be made. Raises `Conflict` and `Refused` as `promote` does."""
    report, retire = "", ""
    if asked.to.stage in UPWARD:
        report = evidence(release, await store.gates(release.name))
        await _check_whole(release, settings, store)
        await check_evidence(release, asked.to.stage, settings, store)
    if asked.to.stage == "live":
        now_live = await store.live(release.task)
        retire = now_live.name if now_live else ""
    return await _change(store, release, asked, report=report, retire=retire)


async def rollback(
    task: str, settings: Settings, store: Store, *, version: str = "", why: str = "", by: str = ""
) -> StageChange:
    """Takes the canary out of the traffic; without one, makes the release live that was live before the present one.

    What is taken out or was live is retired. With `version`, that one must be the canary or live; `by` says so, who
    sits at this machine where it is empty. Raises `Conflict`
    when there is no release to go back to, `Refused` when its files were changed.
    """
    now_live, tried = await store.live(task), await store.on_trial(task)
    if tried is not None and tried.stage == "canary" and version in ("", tried.version):
        return await _change(store, tried, Move(to=Stop(stage="retired"), why=why, who=by or who()))
    if version and (now_live is None or now_live.version != version):
        there = f"{now_live.name} is" if now_live else "nothing is"
        raise Conflict(
            f"{task}@{version} is not live: {there}",
            hint=f"insource release rollback {task} goes back from what is live",
        )
    name = former(await store.stage_changes(task), now_live.name if now_live else None)
    back = await store.release(task, name.partition("@")[2])
    await _check_whole(back, settings, store)
    asked = Move(to=Stop(stage="live"), why=why, who=by or who())
    return await _change(store, back, asked, retire=now_live.name if now_live else "")


async def verify(release: Release, settings: Settings, key: Path | None = None) -> Verified:
    """Compares every file of the release, and its base model where it is at hand, with what was released.

    Where hosts share a place, what lies there is compared as well.

    With `key`, or keys that the settings trust, one of these must have signed it.
    """
    folder = settings.state / release.folder
    faults = await asyncio.to_thread(damage, folder, release.artefact, release.left)
    said, base_faults = ("not compared", []) if faults else await asyncio.to_thread(_base, folder, settings)
    away = await _there(release, settings)
    seal = await asyncio.to_thread(seal_of, release, settings, [key] if key else [])
    asked = key is not None or settings.signing.trusted
    unsigned = () if seal.by or not asked else (seal.fault,)
    return Verified(
        release=release.name,
        artefact=release.artefact,
        folder=str(folder),
        faults=(*faults, *base_faults, *away, *unsigned),
        base=said,
        signed=f"by {seal.by}" if seal.by else seal.fault,
    )


async def _there(release: Release, settings: Settings) -> list[str]:
    """What is amiss with the release in the place that hosts share; nothing without one."""
    place = place_of(settings)
    if place is None:
        return []
    try:
        manifest = read_manifest(settings.state / release.folder)
    except InsourceError:
        manifest = None  # which is said already
    return await asyncio.to_thread(there, release, place, manifest)


def who() -> str:
    """The name of the person at this machine, "unknown" where the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        return "unknown"


def _base(folder: Path, settings: Settings) -> tuple[str, list[str]]:
    """How the base model on this machine compares with the one the release was made from, and its faults."""
    manifest = read_manifest(folder)
    if not manifest.base_digest:
        return "none: this engine has no base model", []
    try:
        local = find(manifest.base, settings.cache)
    except InsourceError as error:
        return f"{manifest.base} is not compared: {error}", []
    if local is None:
        return _absent(manifest, settings)
    if local.sha256 != manifest.base_digest:
        fault = (
            f"base model {manifest.base} has SHA-256 {local.sha256}, the release was made from {manifest.base_digest}"
        )
        return f"{manifest.base} differs", [fault]
    homes = [(home, kept) for home, kept in kept_models(settings.cache).items() if kept.name == local.name]
    faults = [f"base model {local.name}: {fault}" for home, kept in homes for fault in model_faults(home, kept)]
    return f"{manifest.base} differs" if faults else f"{manifest.base}, as it was ({manifest.base_digest[:12]})", faults


def _absent(manifest: Manifest, settings: Settings) -> tuple[str, list[str]]:
    if settings.workspace.share_base and manifest.engine == "torch":
        fault = f"base model {manifest.base} is not on this machine, and with share_base the release needs it to answer"
        return f"{manifest.base} is missing", [fault]
    return f"{manifest.base} is not on this machine; the release does not need it to answer", []


async def _check_whole(release: Release, settings: Settings, store: Store) -> None:
    await here(release, settings, store.place)
    said = await asyncio.to_thread(damage, settings.state / release.folder, release.artefact, release.left)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}",
                      hint=f"restore its files, then insource release verify {release.name}")  # fmt: skip
    await must_be_signed(release, settings)


async def _change(store: Store, release: Release, asked: Move, *, report: str = "", retire: str = "") -> StageChange:
    change = StageChange(
        release=release.name,
        before=release.stage,
        after=asked.to.stage,
        who=asked.who,
        why=asked.why,
        evidence=report,
        created=stamp(time.time()),
        share=asked.to.share,
        found=asked.found,
    )
    await store.change_stage(change, retire=retire)
    return change
