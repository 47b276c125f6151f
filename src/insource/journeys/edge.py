"""A release goes where there is no network: out as one file, in as a workspace that answers as any other does."""

import asyncio
import json
import shutil
import tempfile
import uuid
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

import insource
from insource.engines.artefact import read_manifest
from insource.errors import Conflict, Refused
from insource.journeys.govern import check_evidence
from insource.journeys.init import init
from insource.journeys.laxer import laxer
from insource.journeys.promote import promote
from insource.journeys.serve import as_served
from insource.journeys.terms import beyond
from insource.nouns import Noun, Release, Scan, Task, sha256_given
from insource.nouns.sections import RiskSettings
from insource.release.bundle import LEFT, Bundle, check, member_of, members, needs, pack, unpack
from insource.release.integrity import damage
from insource.release.shared import share
from insource.release.signature import sealed, signature_file
from insource.release.stages import evidence
from insource.release.task_file import task_files
from insource.route import HUMAN, RELEASE, demanded, promise
from insource.settings import CONFIG, Settings, load_settings, task_file
from insource.store import Store
from insource.store.files import alone, disk, write_whole


class Bundled(Noun, frozen=True, kw_only=True):
    """What `bundle` wrote. `left` names files and engines that stay behind."""

    release: str
    file: str
    sha256: str
    bytes: int
    needs: str
    left: tuple[str, ...]


class Installed(Noun, frozen=True, kw_only=True):
    """What `install` did. `replaced` is the release that was live; `kept` the file that holds a changed task."""

    release: str
    workspace: str
    needs: str
    threshold: float | None
    promise: str
    replaced: str = ""
    kept: str = ""


async def bundle(task: Task, release: Release, settings: Settings, store: Store, out: Path) -> Bundled:
    """Writes `release` with its artefact, policy and gate to the new file `out`.

    Raises `Conflict` when it has not passed the gate or `out` exists, `Refused` when the gate said no, the files were
    changed or evidence that `[govern]` requires is missing, `StoreError` when the disk is full.
    """
    await check_evidence(release, "live", settings, store)  # it is live where it goes
    gates = await store.gates(release.name)
    evidence(release, gates)
    folder = settings.state / release.folder
    said = await asyncio.to_thread(damage, folder, release.artefact, release.left)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}", hint="restore it, or train again")
    manifest = read_manifest(folder)
    away = _alone(as_served(manifest.task, task))
    tighter = await store.tightened(release.name)
    fitted = demanded(away.risk, manifest.task.risk.max_error, manifest.threshold)
    if tighter is not None and beyond(away.risk, fitted, tighter):
        by_hand = msgspec.structs.replace(away.risk, threshold=tighter.threshold)
        away = msgspec.structs.replace(away, risk=by_hand)  # there, nobody knows that its promise was broken
    kept = task_file(settings, task.name)[1].risk
    risk = RiskSettings(audit=kept.audit, out_of_scope=kept.out_of_scope, fields=kept.fields)
    await asyncio.to_thread(task_files, away, risk)  # what could not be written there is better said here
    files = members(folder)
    made = Bundle(
        release=msgspec.structs.replace(
            release, stage="candidate", approved_by="", left=tuple(n for n in LEFT if n in manifest.files)
        ),
        task=away,
        risk=risk,
        gate=gates[-1],
        threshold=demanded(away.risk, manifest.task.risk.max_error, manifest.threshold),
        promise=promise(away.risk, manifest.task.risk, manifest.threshold, manifest.promise),
        needs=needs(release.engine, scanned=away.scan != Scan()),
        code=f"insource {insource.__version__}",
        members=await asyncio.to_thread(lambda: {name: member_of(path) for name, path in files.items()}),
        signature=_signature(settings, release),
    )
    written = await asyncio.to_thread(pack, made, files, out)
    helpers = [name for name in task.risk.otherwise if name not in away.risk.otherwise]
    return Bundled(
        release=release.name,
        file=str(out),
        sha256=written.sha256,
        bytes=written.bytes,
        needs=made.needs,
        left=(*made.release.left, *helpers),
    )


async def install(file: Path, root: Path, *, sha256: str = "", key: Path | None = None) -> Installed:
    """Makes the release in `file` the live one of the workspace `root`, which is made when there is none.

    With `key`, the release must be signed with its private half and answer under no laxer policy than it was signed
    with, unless `sha256` says that this very file is meant; and a workspace made now asks the same of every later
    one: `[signing]` of its insource.toml.

    The whole file is checked before anything is written. Stopped anywhere, the same call goes on; a second time it
    changes nothing, or mends the files. Raises what `release.bundle.check` does, `Invalid` for a `sha256` that is none,
    and `Conflict` in a workspace that has rows of the task, or another release of that name.
    """
    found = await asyncio.to_thread(check, file, sha256_given(sha256))
    texts = await asyncio.to_thread(task_files, found.task, found.risk)
    keys = [key] if key else [root / trusted for trusted in _trusted(root)]
    if keys:
        await asyncio.to_thread(_signed_by, keys, file, found, whole=bool(sha256))
    if not (root / CONFIG).exists():
        init(root, more=await asyncio.to_thread(_trust, root, key) if key else "")
    settings = load_settings(root)
    with alone(settings.state / "locks" / "bundle", "insource init --bundle"):
        async with await Store.open(settings) as store:
            return await _install(found, file, texts, settings, store)


async def _install(found: Bundle, file: Path, texts: dict[str, str], settings: Settings, store: Store) -> Installed:
    task = found.task.name
    if await store.dataset(task) is not None:
        raise Conflict(f"{settings.root} has rows of {task}: its releases are made here", hint="insource init DIR")
    release = await _registered(found, file, settings, store)
    if (settings.root / "tasks" / f"{task}.toml").is_file():  # what it requires here is asked before it is written anew
        await check_evidence(release, "live", settings, store)
    kept = [_write(settings.root / place, text) for place, text in texts.items()]
    live = await store.live(task)
    if live is None or live.name != release.name:
        await promote(release, settings, store, why=f"from the bundle {file.name}")
    return Installed(
        release=release.name,
        workspace=str(settings.root),
        needs=found.needs,
        threshold=found.threshold,
        promise=found.promise,
        replaced=live.name if live and live.name != release.name else "",
        kept=next((place for place in kept if place), ""),
    )


async def _registered(found: Bundle, file: Path, settings: Settings, store: Store) -> Release:
    """The release with its files in place, in the store with the gate it passed."""
    place = Path("releases") / found.task.name / found.release.version
    known = next((r for r in await store.releases(found.task.name) if r.name == found.release.name), None)
    if known is not None and known.artefact != found.release.artefact:
        raise Conflict(f"{known.name} is here with another artefact ({known.artefact[:12]})", hint="insource init DIR")
    release = known or msgspec.structs.replace(found.release, folder=place.as_posix(), approved_by="")
    folder = settings.state / release.folder
    if await asyncio.to_thread(damage, folder, release.artefact, release.left):
        await asyncio.to_thread(_fill, folder, file, found)
    if isinstance(found.signature, str):
        await asyncio.to_thread(write_whole, signature_file(settings.state, release), found.signature)
    await asyncio.to_thread(share, folder, release.artefact, store.place)
    if known is None:
        await store.add_release(release)
    if found.gate not in await store.gates(release.name):
        await store.save_gate(found.gate)
    return release


def _fill(folder: Path, file: Path, found: Bundle) -> None:
    """Puts the files of the bundle in the place of whatever is there."""
    fresh = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
    with disk(folder):
        fresh.parent.mkdir(parents=True, exist_ok=True)
    unpack(file, found, fresh)
    with disk(folder):
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


def _signature(settings: Settings, release: Release) -> str | UnsetType:
    """The text of the release's signature, UNSET without one."""
    file = signature_file(settings.state, release)
    return file.read_text("utf-8") if file.is_file() else UNSET


def _trusted(root: Path) -> tuple[str, ...]:
    """The keys that a workspace trusts, which may not be made yet."""
    return load_settings(root).signing.trusted if (root / CONFIG).exists() else ()


def _signed_by(keys: list[Path], file: Path, found: Bundle, *, whole: bool) -> None:
    """Raises `Refused` unless the release in the bundle is signed with the private half of one of `keys`.

    The bundle's policy is not what was signed: where the `whole` file is not known by its digest, it may not be laxer.
    """
    with tempfile.TemporaryDirectory() as folder:
        artefact, signature = Path(folder) / found.release.version, Path(folder) / "signature"
        unpack(file, found, artefact)
        if isinstance(found.signature, str):
            signature.write_text(found.signature, "utf-8")
        seal = sealed(artefact, signature, keys)
        lax = [] if whole else laxer(found, read_manifest(artefact))
    if not seal.by:
        names = " or ".join(key.name for key in keys)
        raise Refused(f"{found.release.name} is not signed with {names}: {seal.fault}", hint="use it for nothing")
    if lax:
        raise Refused(
            f"{file} answers otherwise than {found.release.name} as it was signed: {'; '.join(lax)}",
            hint="--sha256, the digest of the file from who made it, says that this is meant",
        )


def _trust(root: Path, key: Path) -> str:
    """Puts a copy of the public `key` into the workspace to be; what its settings say of it.

    They say so from the first byte on: killed at any moment, there is no workspace that trusts anybody.
    """
    place = Path("keys") / key.name
    write_whole(root / place, key.read_text("utf-8"))
    return f"\n[signing]\ntrusted = [{json.dumps(place.as_posix())}]\n"


def _write(path: Path, text: str) -> str:
    """Writes a file of the task; another text that was there is kept beside it, and its new place returned."""
    before = path.read_text("utf-8", "replace") if path.is_file() else text
    kept = path.with_name(path.name + ".before")
    if before != text:
        write_whole(kept, before)
    write_whole(path, text)
    return str(kept) if before != text else ""


def _alone(task: Task) -> Task:
    """The task where no other engine can be asked: a person is."""
    routes = tuple(msgspec.structs.replace(rule, engines=_here(rule.engines)) for rule in task.routes)
    return msgspec.structs.replace(task, risk=msgspec.structs.replace(task.risk, otherwise=(HUMAN,)), routes=routes)


def _here(engines: tuple[str, ...]) -> tuple[str, ...]:
    """Whom a rule asks where no other engine is; without any, it asks whom the task would."""
    return tuple(name for name in engines if name in (RELEASE, HUMAN)) or (engines and (HUMAN,))
