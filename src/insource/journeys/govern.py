"""The evidence pack of a release: gathered, written, held against what is required and against the calendar.

The pack can be built at any time again: the same state gives the same bytes. `standing` is what a gate and a promotion
ask, so that what is required of the evidence is required of the release.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from insource.errors import Invalid, Refused
from insource.govern.checklist import ITEMS, Item, checklist, declarable, fields, lacking, wanted_of
from insource.govern.dates import Due
from insource.govern.evidence import Field
from insource.govern.pack import SUMS, Pack, pack
from insource.journeys.facts import about, gather
from insource.nouns import Check, Declaration, Gate, Noun, Release, Stage, digest, stamp
from insource.settings import Settings, task_file
from insource.store import Store
from insource.store.files import alone, disk, write_whole

FOLDER = "govern"
EVIDENCE = "evidence"
BEFORE_CALLERS: tuple[Stage, ...] = ("canary", "live")


class Governed(Noun, frozen=True, kw_only=True):
    """A pack, where it was written ("" for nowhere), what is missing of what is required, and what is overdue."""

    pack: Pack
    folder: str
    required: tuple[str, ...]
    missing: tuple[str, ...]
    overdue: tuple[Due, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing that is required is missing, and nothing is overdue."""
        return not self.missing and not self.overdue


class Standing(Noun, frozen=True, kw_only=True):
    """The checklist, and the fields that its items need; of others `fields` says nothing that counts."""

    about: str
    items: tuple[Item, ...]
    fields: dict[str, Field]


async def govern(
    name: str, settings: Settings, store: Store, *, version: str = "", out: Path | None = None, write: bool = True
) -> Governed:
    """Builds the pack of a release of the task called `name`: the one named, else what is live, else the newest.

    It is written to the folder `out`, else below `.insource/govern`. Raises `Missing` for an unknown task or release,
    `Invalid` where the task's file requires what is no field, `StoreError` where it cannot be written, `Conflict` while
    another process writes it.
    """
    required = task_file(settings, name)[1].govern.required
    made = pack(await gather(name, settings, store, release=await about(name, version, store)))
    missing = made.lacking(required)
    folder = out or settings.state / FOLDER / made.about
    if write:
        with alone(settings.state / "locks" / f"govern-{digest(str(folder))[:16]}", f"insource govern {name}"):
            await asyncio.to_thread(_write, made, folder)
    today = datetime.now(UTC).date().isoformat()
    return Governed(
        pack=made,
        folder=_shown(folder, settings) if write else "",
        required=required or tuple(item.name for item in made.items),
        missing=tuple(missing),
        overdue=tuple(one for one in made.due if one.day < today),
    )


async def standing(name: str, settings: Settings, store: Store) -> Standing:
    """How the checklist of the task's live release stands, of the newest where none is live. Raises as `govern`."""
    wanted = {field for _, mine in ITEMS.values() for field in mine}
    release = await about(name, "", store)
    facts = await gather(name, settings, store, release=release, wanted=wanted)
    found = fields(facts)
    return Standing(about=facts.about, items=tuple(checklist(found)), fields=found)


async def declare(name: str, said: str, by: str, settings: Settings, store: Store) -> Declaration:
    """Keeps what `by` says of a field ("intended_use=TEXT"); an empty text takes it back.

    Raises `Invalid` for what is no such field, and where nobody is named.
    """
    task_file(settings, name)
    field, equals, value = said.partition("=")
    if not equals or not by.strip():
        raise Invalid("a declaration is FIELD=TEXT, and somebody says it", hint="--declare FIELD=TEXT --by NAME")
    made = Declaration(
        task=name, field=declarable(field.strip()), value=value.strip(), by=by.strip(), created=stamp(time.time())
    )
    await store.declarations.add(made)
    return made


async def evidence_check(release: Release, settings: Settings, store: Store, gate: Gate) -> list[Check]:
    """A line of the gate where the task's `[govern] required` asks for evidence; `gate` is the answer so far."""
    required = task_file(settings, release.task)[1].govern.required
    if not required:
        return []
    missing = await _lacking(release, required, settings, store, gate)
    found = f"missing: {', '.join(missing)}" if missing else "all of it"
    return [Check(name=EVIDENCE, demanded=", ".join(required), found=found, passed=not missing)]


async def check_evidence(release: Release, to: Stage, settings: Settings, store: Store) -> None:
    """Passes where the release may come before callers as far as `[govern] required` says. Raises `Refused`."""
    required = task_file(settings, release.task)[1].govern.required
    if not required or to not in BEFORE_CALLERS:
        return
    missing = await _lacking(release, required, settings, store)
    if missing:
        raise Refused(
            f"{release.name} lacks evidence that [govern] requires: {', '.join(missing)}",
            hint=f"insource govern {release.name} says what fills it",
        )


async def _lacking(
    release: Release, required: tuple[str, ...], settings: Settings, store: Store, gate: Gate | None = None
) -> list[str]:
    """What is missing of what is required; only what that takes is read."""
    wanted = {field for name in required for field in wanted_of(name)}
    facts = await gather(release.task, settings, store, release=release, gate=gate, wanted=wanted)
    return lacking(fields(facts), required)


def _write(made: Pack, folder: Path) -> None:
    """Writes the pack; the sums come last, so that a folder without them is none."""
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SUMS).unlink(missing_ok=True)
    for name, data in made.files.items():
        if name != SUMS:
            write_whole(folder / name, data.decode())
    write_whole(folder / SUMS, made.files[SUMS].decode())


def _shown(folder: Path, settings: Settings) -> str:
    """The folder as it is told: below the workspace, from there."""
    return folder.relative_to(settings.root).as_posix() if folder.is_relative_to(settings.root) else str(folder)
