"""The store: everything the product remembers, behind one set of words."""

import asyncio
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, delete

from insource.nouns import (
    Alert,
    Dataset,
    Example,
    Gate,
    Intent,
    Key,
    Pending,
    Record,
    Release,
    Report,
    Review,
    StageChange,
    Tightening,
    Trial,
)
from insource.settings import Settings
from insource.store import (
    backup,
    carried,
    chain,
    datasets,
    keys,
    records,
    registry,
    retention,
    search,
    spending,
    spooled,
    trials,
)
from insource.store.alerts import Alerts
from insource.store.assessments import Assessments
from insource.store.batches import Batches
from insource.store.blobs import Blobs
from insource.store.carried import Carried, Taken
from insource.store.copied import Copied, copy
from insource.store.database import Database
from insource.store.declarations import Declarations
from insource.store.filing import Filing
from insource.store.lessons import Lessons
from insource.store.listings import Listings
from insource.store.migrations import migrate
from insource.store.opened import FILE, commits, database
from insource.store.place import Place, place_of
from insource.store.process import is_gone, this_process
from insource.store.queue import Queue
from insource.store.retention import Pruned
from insource.store.search import Found, Judged, Wanted
from insource.store.shares import Shares
from insource.store.spent import Spent, Used
from insource.store.spool_file import Line
from insource.store.spooled import Came
from insource.store.tables import PROBE
from insource.store.tally import Tally
from insource.store.thread import StoreThread
from insource.store.trials import Counted, Seen, Tried
from insource.store.verified import Head, Verified
from insource.store.withdrawn import Withdrawn


class Store(Queue):
    """Opened with `Store.open(settings)`, closed with `close`, or used as `async with`.

    All methods are safe to call concurrently. When one that writes has returned, what it wrote survives a kill and a
    power cut; calls (`intend`, `append`) only a kill where it is `relaxed`. Each raises `StoreError` when the disk, a
    lock or the file's form does not allow it.
    """

    def __init__(self, thread: Database, state: Path, *, relaxed: bool = False, place: Place | None = None) -> None:
        self.blobs, self.alerts, self.lessons = Blobs(state / "blobs", place), Alerts(thread), Lessons(thread)
        self.place = place
        self.assessments, self.declarations, self.shares = Assessments(thread), Declarations(thread), Shares(thread)
        self.listings, self.tally = Listings(thread), Tally(thread)
        self._state = state
        self._thread = thread
        self._group = commits(thread, relaxed=relaxed)
        self.batches, self.filing = Batches(thread, self._group), Filing(thread)
        self._keys: dict[str, bytes] = {}
        self._process = this_process()

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """The workspace's store, made when there is none and migrated when it is old."""
        thread, place = database(settings), place_of(settings)
        try:
            await thread.open()
            await thread.run(migrate)
        except BaseException:
            await thread.close()
            raise
        return cls(thread, settings.state, relaxed=settings.audit.sync == "second", place=place)

    @property
    def behind_s(self) -> float:
        """For how many seconds the first has waited to be told of those whose rows are durable."""
        return self._group.behind_s

    async def close(self) -> None:
        """Commits what waits and closes the file."""
        try:
            await self._group.close()
        finally:
            await self._thread.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def backup(self, out: Path) -> int:
        """Writes the whole state to the new file `out` while calls go on; returns its size in bytes."""
        with tempfile.TemporaryDirectory(dir=self._state, prefix="backup-") as folder:
            file = Path(folder) / FILE
            if isinstance(self._thread, StoreThread):
                await asyncio.to_thread(backup.snapshot, self._thread.path, file)
            else:
                await self._thread.look_once(lambda c: StoreThread(file).at_once(lambda t: copy(c, t, _quiet)))
            return await asyncio.to_thread(backup.pack, self._state, file, out)

    async def copy(self, target: Database, progress: Callable[[str, int, int], None]) -> Copied:
        """Writes all that is here into another database, which must be empty. Raises `Conflict`."""
        return await self._thread.look_once(lambda c: target.at_once(lambda t: copy(c, t, progress)))

    async def probe(self) -> None:
        """Writes one row and commits it. Raises `StoreError` when the store cannot be written now."""

        def write(connection: Connection) -> None:
            connection.execute(delete(PROBE))
            connection.execute(PROBE.insert().values(id=1, at=datetime.now(UTC).isoformat()))

        await self._thread.run(write)

    async def save_dataset(self, dataset: Dataset, examples: list[Example]) -> None:
        """Keeps the rows and notes the dataset as its task's newest."""
        rows = await asyncio.to_thread(lambda: self.blobs.put(datasets.rows_to_bytes(examples)))
        await self._thread.run(lambda c: datasets.save_dataset(c, dataset, rows))

    async def dataset(self, task: str) -> Dataset | None:
        """The task's newest dataset."""
        return await self._thread.look(lambda c: datasets.newest_dataset(c, task))

    async def dataset_by_id(self, id: str) -> Dataset:
        """The dataset named by its SHA-256. Raises `Missing`."""
        return (await self._thread.run(lambda c: datasets.dataset_row(c, id)))[0]

    async def examples(self, dataset_id: str, split: str | None = None) -> list[Example]:
        """The dataset's rows, of one split or all, in their order. Raises `Missing`."""
        _, rows = await self._thread.run(lambda c: datasets.dataset_row(c, dataset_id))
        return await asyncio.to_thread(lambda: datasets.rows_from_bytes(self.blobs.get(rows), split))

    async def save_report(self, report: Report) -> None:
        """Keeps a report under its id; the same again changes nothing."""
        await self._thread.run(lambda c: datasets.save_report(c, report))

    async def report(self, id: str) -> Report:
        """The report called `id`. Raises `Missing`."""
        return await self._thread.look(lambda c: datasets.report(c, id))

    async def reports(self, task: str) -> list[Report]:
        """The task's reports, oldest first."""
        return await self._thread.look(lambda c: datasets.reports(c, task))

    async def forget_reports(self, ids: Collection[str]) -> int:
        """Removes these reports; how many there were. It is for the caller to know that nothing rests on them."""
        return await self._thread.run(lambda c: datasets.forget_reports(c, ids))

    async def add_release(self, release: Release) -> None:
        """Registers a release. Raises `Conflict` when its name is taken."""
        await self._thread.run(lambda c: registry.add_release(c, release))

    async def releases(self, task: str) -> list[Release]:
        """The task's releases, oldest first."""
        return await self._thread.look(lambda c: registry.releases(c, task))

    async def release(self, task: str, version: str) -> Release:
        """One release. Raises `Missing` with the versions there are."""
        return await self._thread.run(lambda c: registry.release(c, f"{task}@{version}"))

    async def live(self, task: str) -> Release | None:
        """The release that answers the task's traffic."""
        return await self._thread.look(lambda c: registry.live(c, task))

    async def on_trial(self, task: str) -> Release | None:
        """The release of the task that is tried beside the live one."""
        return await self._thread.look(lambda c: registry.on_trial(c, task))

    async def add_trials(self, tried: Sequence[Tried]) -> None:
        """Keeps calls that two releases answered."""
        await self._thread.run(lambda c: trials.add(c, tried))

    async def trials(self, release: str, since: str, here: str) -> tuple[Counted, list[Seen]]:
        """What was counted of `release` on trial since a time, `here` since its stop, and what people said of it."""
        counted = await self._thread.look(lambda c: trials.count(c, release, since, here))
        return counted, await self._thread.look(lambda c: trials.judged(c, release, since))

    async def newest_trials(self, release: str, since: str, limit: int) -> list[Trial]:
        """The newest calls that `release` answered on trial since a time, newest first."""
        return await self._thread.look(lambda c: trials.newest(c, release, since, limit))

    async def trial(self, record: str) -> Trial | None:
        """What another release answered to the call, None where none was asked."""
        return await self._thread.look(lambda c: trials.of_record(c, record))

    async def change_stage(self, change: StageChange, *, retire: str = "") -> None:
        """Sets a stage, retires the release called `retire` and notes the change: all or nothing.

        Raises `Missing` for an unknown release, `Conflict` when its stage is not `change.before`.
        """
        await self._thread.run(lambda c: registry.change_stage(c, change, retire))

    async def stage_changes(self, task: str) -> list[StageChange]:
        """Every change of stage of the task's releases, oldest first."""
        return await self._thread.look(lambda c: registry.stage_changes(c, task))

    async def tighten(self, made: Tightening) -> None:
        """Notes that more confidence is demanded of a release. Raises `Conflict` unless it is more than before."""
        await self._thread.run(lambda c: registry.tighten(c, made))

    async def tightened(self, release: str) -> Tightening | None:
        """What is demanded of the release called so beyond what it was fitted to."""
        return await self._thread.look(lambda c: registry.tightened(c, release))

    async def save_gate(self, gate: Gate) -> None:
        """Keeps a gate's answer."""
        await self._thread.run(lambda c: registry.save_gate(c, gate))

    async def gates(self, release_name: str) -> list[Gate]:
        """Every gate that `task@version` went through, oldest first."""
        return await self._thread.look(lambda c: registry.gates(c, release_name))

    async def open_alerts(self, task: str = "") -> list[Alert]:
        """What a person should look at, of one task or of everything, oldest first."""
        return await self.alerts.standing(task)

    async def intend(self, intent: Intent) -> None:
        """Notes a call before anyone is asked; durable when this returns."""
        await self._group.join(records.intend, records.begun(intent, self._process))

    async def interrupt(self, spared: Callable[[str], bool] | None = None) -> list[str]:
        """Ends, as "interrupted", the calls of processes that are gone, and those whose time is up; their ids.

        Those of `spared` processes stay as they are.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return await self._thread.run(lambda c: records.interrupt(c, now, is_gone, spared))

    async def settled(self) -> None:
        """Returns when each call that was given before is written, or will never be. Raises `StoreError`."""
        await self._group.join(spooled.nothing, None)

    async def spooled(self) -> int:
        """How many records came in from a spool."""
        return await self._thread.look(spooled.count)

    async def take_spooled(self, lines: Sequence[Line], process: str) -> Came:
        """Adds calls that `process` had to put elsewhere; what is here already is not added again."""
        return await self._thread.run(lambda c: spooled.take(c, lines, process))

    async def open_calls(self) -> int:
        """How many calls were begun and have not ended."""
        return await self._thread.look(records.open_calls)

    async def verify_chain(self) -> Verified:
        """Looks at the whole audit chain and every row it vouches for."""
        return await self._thread.look(chain.verify)

    async def chain_heads(self) -> list[Head]:
        """The last entry of each audit chain, durable when this returns, whichever process wrote it."""
        heads = await self._thread.look(chain.heads)
        await self._thread.sync()
        return heads

    async def chain_head(self) -> Head:
        """The last entry of the last chain, which is the only one where one process writes calls."""
        return (await self.chain_heads())[-1]

    async def chain_entries_count(self) -> int:
        """How many entries the audit chains have."""
        return await self._thread.look(chain.count)

    async def prune(self, before: str, most: int, former: Pruned | None = None) -> Pruned:
        """Removes some of the oldest calls: those from before a time (ISO 8601), and those beyond the newest `most`.

        `former` is what the round before removed, which knows which these are.
        """
        beyond = former.beyond if former else await self._thread.look(lambda c: retention.beyond(c, most))
        return await self._thread.run(lambda c: retention.prune(c, before, beyond))

    async def chain_at(self, seqs: Collection[int]) -> dict[int, str]:
        """Number of an entry → its hash; empty where there is none."""
        return await self._thread.look(lambda c: chain.at(c, seqs))

    async def chain_entries(self, after: int) -> list[dict[str, Any]]:
        """The entries behind the number `after`, some thousands, each with the body of its row as `row`."""
        return await self._thread.look(lambda c: chain.entries(c, after))

    async def append(self, record: Record, pending: Pending | None = None) -> None:
        """Keeps a call and what a person should see of it; both are durable when this returns."""
        await self._group.join(records.append, records.kept(record, pending))

    async def record(self, id: str) -> Record:
        """The record called `id`. Raises `Missing`."""
        return await self._thread.look(lambda c: records.record(c, id))

    async def records(self, task: str | None = None, limit: int = 50) -> list[Record]:
        """The newest records, of one task or of all, newest first."""
        return await self._thread.look(lambda c: records.records(c, task, limit))

    async def outcomes(self, task: str, since: str) -> dict[str, int]:
        """How many calls of the task ended how, of those from the time `since` (UTC, as records say it) on."""
        return await self._thread.look(lambda c: search.outcomes(c, task, since))

    async def find(self, wanted: Wanted, *, below: int = 0, limit: int = 50) -> Found:
        """Records that somebody looks for, newest first, those before the place `below`."""
        return await self._thread.look(lambda c: search.find(c, wanted, below, limit))

    async def judged(self, record: str) -> Judged:
        """What a person was shown of a call, and what was said of it."""
        return await self._thread.look(lambda c: search.judged(c, record))

    async def newest_reviews(self, task: str, limit: int, tenant: str | None = None) -> list[tuple[Pending, Review]]:
        """The newest verdicts on the task's answers, oldest of them first, with what each was about."""
        return await self._thread.look(lambda c: search.newest_reviews(c, task, limit, tenant))

    async def input_hashes(self, ids: list[str]) -> dict[str, str]:
        """Record → keyed hash of its input, for those of `ids` that there are."""
        return await self._thread.look(lambda c: records.input_hashes(c, ids))

    async def calls(self, after: int = 0) -> tuple[list[Carried], int]:
        """The calls kept behind the place `after`, a few hundred at a time, oldest first; none at the end."""
        return await self._thread.look(lambda c: carried.page(c, after))

    async def take(self, calls: Sequence[Carried], gone: Mapping[str, Collection[Withdrawn]]) -> Taken:
        """Adds calls of another store; what is here already is not added again. `gone` is of `taken_back`.

        Raises `Conflict`, and adds none, when one is here with another content.
        """
        return await self._thread.run(lambda c: carried.take(c, calls, gone))

    async def tenant_keys(self, tenants: Collection[str]) -> dict[str, bytes]:
        """The keys of these tenants, each made if need be."""
        return await self._thread.run(lambda c: carried.keys(c, tenants))

    async def adopt(self, tenant: str, key: bytes) -> str:
        """What a tenant of another store is called here; its key is kept under that name."""
        return await self._thread.run(lambda c: carried.adopt(c, tenant, key))

    async def tenant_key(self, tenant: str) -> bytes:
        """The tenant's key: 32 random bytes, made once."""
        if tenant not in self._keys:
            self._keys[tenant] = await self._thread.run(lambda c: records.tenant_key(c, tenant))
        return self._keys[tenant]

    async def add_key(self, key: Key) -> None:
        """Keeps a new key. Raises `Conflict` while another that stands for the same name can still be used."""
        await self._thread.run(lambda c: keys.add(c, key))

    async def key(self, id: str) -> Key:
        """The key `id`. Raises `Missing`."""
        return await self._thread.run(lambda c: keys.find(c, id))

    async def replace_key(self, id: str, key: Key, until: str) -> None:
        """Keeps `key`; the key `id`, which it replaces, expires at `until`. Raises `Missing`, `Conflict`."""
        await self._thread.run(lambda c: keys.replace(c, id, key, until))

    async def revoke_key(self, id: str, now: str) -> Key:
        """Ends the key `id` and returns it. Raises `Missing`, or `Conflict` when it was revoked already."""
        return await self._thread.run(lambda c: keys.revoke(c, id, now))

    async def keys(self, after: int = 0) -> tuple[list[Key], int]:
        """The keys that are new or changed since the number `after` (0: all), oldest first, and the number now."""
        return await self._thread.look(lambda c: keys.changed(c, after))

    async def spent(self, since: str) -> list[Spent]:
        """What was spent from the day `since` (YYYY-MM-DD, UTC) on, by day, tenant and caller."""
        return await self._thread.look(lambda c: spending.spent(c, since))

    async def used(self, since: str) -> list[Used]:
        """The calls kept from the time `since` (UTC, as records say it) on, newest first."""
        return await self._thread.look(lambda c: spending.used(c, since))


def _quiet(*_: object) -> None:
    """Says nothing."""
