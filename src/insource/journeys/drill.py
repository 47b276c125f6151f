"""A restore drill: a backup becomes a workspace elsewhere, and what that answers is what this one answers.

unpack → audit chain → files and signatures of every release → the live releases answer the same rows here and there.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from insource.engines.artefact import file_digest, read_manifest
from insource.errors import Invalid, Missing
from insource.journeys import audit
from insource.journeys.answer import Tier
from insource.journeys.backups import folder_of, proved
from insource.journeys.lineup import Lineup, Progress, quiet
from insource.journeys.measure import answering
from insource.journeys.promote import verify
from insource.journeys.serve import as_served
from insource.nouns import Example, Noun, Release, ask, canonical, to_json
from insource.nouns.artefacts import Artefacts
from insource.nouns.signing import Signing
from insource.release import shared
from insource.settings import CONFIG, STATE, Settings, StoreSettings, load_settings, load_task, task_names
from insource.stats import zero_failures_upper
from insource.store import Store
from insource.store.backup import unpack
from insource.store.files import alone, write_whole
from insource.store.opened import IN_FILE

FILE = "drill.json"
ROWS = 100
PREFIX = "drill-"


class Drilled(Noun, frozen=True, kw_only=True):
    """What a drill found. `records` stand in the restored audit chain; `releases` were compared file by file.

    `answers` were compared with this workspace's, value and confidence to the last bit; `differ` names rows that were
    answered otherwise. `upper95` bounds their share where there is none. `recovered_s` is from the file to a workspace
    that answered; `lost_s` is how old what it holds was when the drill began: what a loss of the disk would have cost.
    """

    file: str
    sha256: str
    at: str
    records: int
    releases: int
    answers: int
    differ: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    upper95: float | None = None
    recovered_s: float = 0.0
    lost_s: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether nothing was amiss and something was compared."""
        return not self.faults and not self.differ and bool(self.records or self.releases)


async def drill(
    settings: Settings, store: Store, *, file: Path | None = None, rows: int = ROWS, progress: Progress = quiet
) -> Drilled:
    """Restores `file`, or the newest backup that was proved, into a folder that goes again, and compares.

    Up to `rows` test rows of each task are asked. The outcome is kept in the state, as evidence. Raises `Missing`
    without a backup, `Invalid` for a file that is none, `Conflict` while another drill runs, `StoreError` where the
    disk has no room for it.
    """
    chosen = file or _newest(settings)
    began, at = time.monotonic(), datetime.now(UTC)
    if not chosen.is_file():
        raise Missing(f"there is no backup {chosen}")
    with _aside(settings) as folder:
        root = folder / "workspace"
        await asyncio.to_thread(unpack, chosen, root / STATE)
        if not (root / CONFIG).is_file():
            raise Invalid(f"{chosen} holds no {CONFIG}: an older version made it")
        there = _judged_by(settings, load_settings(root))
        async with await Store.open(there) as restored:
            chain = await audit.verify(there, restored, file=folder / "none")
            names = sorted({*task_names(settings), *task_names(there)})
            found = [release for name in names for release in await restored.releases(name)]
            checked = [await verify(release, there) for release in found]
            sound = {one.release for one in checked if one.whole}
            live = [release for release in found if release.stage == "live" and release.name in sound]
            lost = [fault for one in live for fault in await _lost(one, store, there)]
            asked = [one for one in live if not any(fault.startswith(one.name) for fault in lost)]
            pairs = [await _asked(release, (settings, store), (there, restored), rows, progress) for release in asked]
    faults = [f"audit: {fault.what}" for fault in chain.faults]
    faults += [f"{one.release}: {fault}" for one in checked for fault in one.faults]
    faults += lost
    answers, differ = sum(n for n, _ in pairs), [row for _, rows in pairs for row in rows]
    made = Drilled(
        file=str(chosen),
        sha256=await asyncio.to_thread(file_digest, chosen),
        at=at.isoformat(timespec="seconds"),
        records=chain.rows,
        releases=len(checked),
        answers=answers,
        differ=tuple(differ),
        faults=tuple(faults),
        upper95=zero_failures_upper(answers) if answers and not differ else None,
        recovered_s=round(time.monotonic() - began, 3),
        lost_s=round(max(0.0, at.timestamp() - chosen.stat().st_mtime), 3),
    )
    write_whole(settings.state / FILE, to_json(made))
    return made


@contextlib.contextmanager
def _aside(settings: Settings) -> Iterator[Path]:
    """A folder within the state that goes again; one that a killed drill left, with its texts, goes first."""
    with alone(settings.state / "locks" / "drill", "insource store drill"):
        for old in settings.state.glob(f"{PREFIX}*"):
            shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=settings.state, prefix=PREFIX) as folder:
            yield Path(folder)


def _judged_by(settings: Settings, there: Settings) -> Settings:
    """The restored settings, with this machine's models and our keys: a backup does not say whom we trust.

    Its store is the file that was restored, wherever the store of `there` is, and what other hosts share does not stand
    in for what the backup lacks.
    """
    ours = Signing(trusted=tuple(str(settings.root / file) for file in settings.signing.trusted))
    alone = {"store": StoreSettings(url=IN_FILE), "artefacts": Artefacts()}
    return msgspec.structs.replace(there, cache=settings.cache, signing=ours, **alone)


async def _lost(release: Release, store: Store, there: Settings) -> list[str]:
    """Why a live release of the backup cannot be compared, in words."""
    if release.task not in task_names(there):
        return [f"{release.name}: the backup holds no tasks/{release.task}.toml, without which it does not answer"]
    if release.name not in {one.name for one in await store.releases(release.task)}:
        return [f"{release.name}: there is no such release here to compare its answers with"]
    return []


def _newest(settings: Settings) -> Path:
    """The newest backup of `[backup]` that was restored once. Raises `Missing` without one."""
    there = proved(folder_of(settings))
    if not there:
        raise Missing(
            "there is no backup yet",
            hint="insource store backup FILE, then insource store drill FILE; insource nightly makes one a day",
        )
    return there[-1]


async def _asked(
    release: Release,
    here: tuple[Settings, Store],
    there: tuple[Settings, Store],
    rows: int,
    progress: Progress,
) -> tuple[int, list[str]]:
    """How many rows `release` answered in both places, and the ids of those that it answered otherwise."""
    dataset = await there[1].dataset(release.task)
    examples = (await there[1].examples(dataset.id, "test"))[:rows] if dataset else []
    progress(f"asking {release.name} here", 0, 2)
    mine = await here[1].release(release.task, release.version)
    await shared.here(mine, here[0], here[1].place)
    ours = await _answers(mine, *here, examples)
    progress(f"asking {release.name} there", 1, 2)
    theirs = await _answers(release, *there, examples)
    progress(f"asking {release.name} there", 2, 2)
    return len(examples), [row.id for row, a, b in zip(examples, ours, theirs, strict=True) if a != b]


async def _answers(release: Release, settings: Settings, store: Store, examples: Sequence[Example]) -> list[bytes]:
    """What it says of each row: value and confidences, as bytes."""
    task = load_task(settings, release.task)
    manifest = await asyncio.to_thread(read_manifest, settings.state / release.folder)
    engine = await asyncio.to_thread(Lineup(settings, store, task).release, release)
    said = []
    async with answering(as_served(manifest.task, task), Tier(engine, release.name)) as way:
        for row in examples:
            answer = (await way(ask(task, row.input, id=row.id))).answer
            said.append(canonical([answer.value, answer.confidence, answer.fields] if answer else None))
    return said
