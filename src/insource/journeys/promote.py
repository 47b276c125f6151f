"""How a release comes to answer traffic, and how it leaves: promote, roll back, and verify what lies on disk.

Each change is one transaction in the store, with who, why and the gate's report as evidence.
"""

import asyncio
import getpass
from datetime import UTC, datetime
from pathlib import Path

from insource.engines.artefact import Manifest, read_manifest
from insource.engines.models import find, kept_models, model_faults
from insource.errors import Conflict, InsourceError, Refused
from insource.nouns import Noun, Release, Stage, StageChange
from insource.release.integrity import damage
from insource.release.stages import check_move, evidence, former, stage_called
from insource.settings import Settings
from insource.store import Store


class Verified(Noun, frozen=True, kw_only=True):
    """What `verify` found. `faults` is empty when every file is as released; `base` says the same of the base model."""

    release: str
    artefact: str
    folder: str
    faults: tuple[str, ...]
    base: str

    @property
    def whole(self) -> bool:
        """True when nothing differs."""
        return not self.faults


async def promote(
    release: Release, settings: Settings, store: Store, *, to: str = "live", why: str = ""
) -> StageChange:
    """Moves `release` to the stage `to`; whatever was live before is retired by the same change.

    Going live needs a passed gate on this very artefact and an artefact that is whole. Raises `Invalid` for an
    unknown stage, `Conflict` when the table of stages or the lack of a gate forbids it, `Refused` when the gate said
    no or the files were changed.
    """
    after = stage_called(to)
    check_move(release, after)
    if after != "live":
        return await _change(store, release, after, why=why)
    report = evidence(release, await store.gates(release.name))
    _check_whole(release, settings)
    now_live = await store.live(release.task)
    retire = now_live.name if now_live else ""
    return await _change(store, release, after, why=why, report=report, retire=retire)


async def rollback(task: str, settings: Settings, store: Store, *, version: str = "", why: str = "") -> StageChange:
    """Makes the release live that was live before the present one, and retires the present one.

    With `version`, that one must be live. Raises `Conflict` when there is no release to go back to, `Refused` when
    its files were changed.
    """
    now_live = await store.live(task)
    if version and (now_live is None or now_live.version != version):
        there = f"{now_live.name} is" if now_live else "nothing is"
        raise Conflict(
            f"{task}@{version} is not live: {there}",
            hint=f"insource release rollback {task} goes back from what is live",
        )
    name = former(await store.stage_changes(task), now_live.name if now_live else None)
    back = await store.release(task, name.partition("@")[2])
    _check_whole(back, settings)
    return await _change(store, back, "live", why=why, retire=now_live.name if now_live else "")


async def verify(release: Release, settings: Settings) -> Verified:
    """Compares every file of the release, and its base model where it is at hand, with what was released."""
    folder = settings.state / release.folder
    faults = await asyncio.to_thread(damage, folder, release.artefact, release.left)
    said, base_faults = ("not compared", []) if faults else await asyncio.to_thread(_base, folder, settings)
    return Verified(
        release=release.name,
        artefact=release.artefact,
        folder=str(folder),
        faults=(*faults, *base_faults),
        base=said,
    )


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


def _check_whole(release: Release, settings: Settings) -> None:
    said = damage(settings.state / release.folder, release.artefact, release.left)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}",
                      hint=f"restore its files, then insource release verify {release.name}")  # fmt: skip


async def _change(
    store: Store, release: Release, after: Stage, *, why: str, report: str = "", retire: str = ""
) -> StageChange:
    change = StageChange(
        release=release.name,
        before=release.stage,
        after=after,
        who=who(),
        why=why,
        evidence=report,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    await store.change_stage(change, retire=retire)
    return change
