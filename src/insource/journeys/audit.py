"""The audit: is everything as it was written, what did it cost and whom, and the same as a file for an auditor."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from insource.errors import Invalid
from insource.journeys.lineup import Progress, quiet
from insource.nouns import Noun, to_json
from insource.settings import Settings
from insource.store import Store, checkpoints
from insource.store.checkpoints import Checkpoint
from insource.store.files import new_file
from insource.store.links import SPAN
from insource.store.tally import Took
from insource.store.verified import Fault, Head, Span

BOOKS = "locks/books"  # under .insource/, held by the gateway that signs the chain and removes what is old
BY = ("task", "tenant", "release", "engine", "day")


class Audit(Noun, frozen=True, kw_only=True):
    """What `verify` found. `checkpoints` were compared; `open_calls` were begun and have not ended yet.

    `spooled` records came in later, the store being down at the time: until then only their file vouched for them.

    `foot` is the last entry that went by age; its `seq` is 0 where none did. `replicas` are the chains of the gateways
    of a shared database, if any.
    """

    entries: int
    rows: int
    open_calls: int
    spooled: int
    checkpoints: int
    foot: Head
    head: Head
    faults: tuple[Fault, ...]
    replicas: tuple[Span, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether everything is as it was written, as far as this tells."""
        return not self.faults


def checkpoint_file(settings: Settings) -> Path:
    """Where this workspace's checkpoints go: `audit.checkpoints`, else beside the database."""
    return settings.root / (settings.audit.checkpoints or ".insource/checkpoints.jsonl")


async def verify(settings: Settings, store: Store, *, file: Path | None = None, public: str = "") -> Audit:
    """Looks at every entry of the chain, every row it vouches for, and every checkpoint in `file`.

    `public` is the key they must be signed with; this workspace's own when it is empty. Raises `Invalid` for a file
    that is none of checkpoints.
    """
    file = checkpoint_file(settings) if file is None else file
    found = await store.verify_chain()
    known = await asyncio.to_thread(checkpoints.read, file)
    public = public or await asyncio.to_thread(checkpoints.public_key, settings.state)
    there = await store.chain_at([one.seq for one in known])
    foots = {span.head.seq // SPAN: span.foot for span in found.spans}
    faults = [
        fault for one in known if (fault := _against(one, there[one.seq], foots.get(one.seq // SPAN, Head()), public))
    ]
    for foot in foots.values():
        mine = [one for one in known if one.seq // SPAN == foot.seq // SPAN]
        if mine and max(one.seq for one in mine) < foot.seq:
            what = "all that the checkpoints speak of was removed: nothing signed says that it was old"
            faults.append(Fault(seq=foot.seq, kind="checkpoint", about=mine[-1].at, what=what))
    return Audit(
        entries=found.entries,
        rows=found.rows,
        open_calls=await store.open_calls(),
        spooled=await store.spooled(),
        checkpoints=len(known),
        foot=found.foot,
        head=found.head,
        replicas=found.replicas,
        faults=(*found.faults, *faults),
    )


async def checkpoint(settings: Settings, store: Store, *, file: Path | None = None) -> Checkpoint | None:
    """Signs the last entry of each chain and adds it to `file`, where that does not say so already; the last of them.

    None where nothing is new: of a chain without an entry there is nothing to say. Raises `StoreError`.
    """
    file = checkpoint_file(settings) if file is None else file
    heads = [head for head in await store.chain_heads() if head.seq % SPAN]
    before = await asyncio.to_thread(checkpoints.latest, file)
    made = None
    for head in heads:
        known = before.get(head.seq // SPAN)
        if known is None or (known.seq, known.hash) != (head.seq, head.hash):
            made = checkpoints.sign(settings.state, head, datetime.now(UTC).isoformat(timespec="seconds"))
            await asyncio.to_thread(checkpoints.write, made, file)
    return made


async def prune(settings: Settings, store: Store) -> int:
    """Removes what is older, or more, than `[audit]` lets stay; how many records went.

    Only what the last checkpoint speaks of may go, so that something signed always says where the chain was.
    """
    await store.tally.fold()  # what goes was spent all the same
    days, gone, found = settings.audit.keep_days, 0, None
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat() if days else ""
    while found is None or found.more:
        found = await store.prune(before, settings.audit.keep_calls, found)
        gone += found.records
    return gone


async def usage(store: Store, *, by: str, since: str = "", progress: Progress = quiet) -> list[Took]:
    """What was spent from `since` on (a day or a time, ISO 8601, UTC), dearest first. Raises `Invalid`.

    By engine each attempt counts where it was made, so that what escalation costs twice is seen twice; by anything else
    a call counts once, with all its attempts. What went by age counts still.
    """
    if by not in BY:
        raise Invalid(f"usage is not counted by {by!r}", hint=f"by: {', '.join(BY)}")
    start = _moment(since) if since else None
    await store.tally.fold(progress)
    return sorted(await store.tally.used(by, start), key=lambda one: (-one.usd, -one.calls, one.name))


async def export(store: Store, file: Path, *, progress: Progress = quiet) -> int:
    """Writes the chain to the new `file`, a JSON line an entry with the row it vouches for; returns how many.

    Whoever has the file can compute every hash again. Raises `Conflict` when `file` exists, `StoreError`.
    """
    with new_file(file) as out:
        count = after = 0
        total = await store.chain_entries_count()
        while entries := await store.chain_entries(after):
            await asyncio.to_thread(out.writelines, [to_json(entry) + b"\n" for entry in entries])
            count, after = count + len(entries), entries[-1]["seq"]
            progress("writing entries", min(count, total), total)
    return count


def _against(one: Checkpoint, there: str, foot: Head, public: str) -> Fault | None:
    """What a checkpoint shows that the chain itself does not."""
    what = ""
    if not checkpoints.signed(one, public):
        what = "the checkpoint is not signed with this key"
    elif one.seq < foot.seq:
        what = ""  # it went by age, and a later checkpoint stands for the entry that says so
    elif not there:
        what = "the chain was cut off: the entry of this checkpoint is gone"
    elif there != one.hash:
        what = "the chain was made anew: the entry of this checkpoint is another"
    return Fault(seq=one.seq, kind="checkpoint", about=one.at, what=what) if what else None


def _moment(since: str) -> datetime:
    try:
        found = datetime.fromisoformat(since)
    except ValueError as error:
        raise Invalid(f"{since!r} is no day and no time", hint="--since 2026-11-01") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
