"""Records come home: what a store holds of its calls as one file, and such a file into another store, once.

    {"form": 2, "code": "insource 0.1.0"}
    {"record": …, "pending": …, "review": …, "opinions": …, "withdrawn": …}      a line a call, oldest first
    {"calls": 2, "keys": {"local": "…"}, "sha256": "…"}

The last line counts the calls, carries the keys under which their inputs were hashed, and has the SHA-256 of all that
stands before it: a file that was cut or changed is refused whole.
"""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated

import msgspec
from msgspec import Meta

import insource
from insource.errors import Conflict, Invalid, Missing
from insource.journeys.answer import input_hash
from insource.journeys.lineup import Progress, quiet
from insource.nouns import Noun, Review, from_json, to_json
from insource.store import Store
from insource.store.carried import Carried, Taken
from insource.store.files import placed
from insource.store.withdrawn import ROWS

FORM, READS = 2, (1, 2)  # what a call of form 1 lacks is left out in form 2, too, where there is none
LONGEST = 64_000_000  # bytes of a line
BATCH = 500
Key = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class First(Noun, frozen=True, kw_only=True):
    """The first line."""

    form: int
    code: str = ""


class Last(Noun, frozen=True, kw_only=True):
    """The last line. `keys` maps each tenant to its key, 32 bytes in hex digits."""

    calls: int
    keys: dict[str, Key]
    sha256: str


class Carry(Noun, frozen=True, kw_only=True):
    """What was written: calls in all, those that wait for a person, and those a person has judged."""

    file: str
    calls: int
    waiting: int
    reviews: int


async def give(store: Store, out: Path, *, progress: Progress = quiet) -> Carry:
    """Writes every call of the store to the new file `out`, whole or not at all, readable to its owner alone.

    Calls may go on meanwhile. Raises `Conflict` when `out` exists, `StoreError` when the disk is full.
    """
    if await asyncio.to_thread(out.exists):
        raise Conflict(f"{out} exists already", hint="give another name")
    with placed(out) as part:
        part.touch(0o600)
        with part.open("wb") as file:
            written = await _write(store, file, progress)
    return msgspec.structs.replace(written, file=str(out))


async def take(store: Store, file: Path, *, progress: Progress = quiet) -> Taken:
    """Adds the calls of `file` to the store. Twice is once, and files that overlap add each call once.

    Everything keeps its id. A tenant gets a name of its own here unless its key is ours. Read to the end before
    anything is added; stopped on the way, the same call adds the rest. Raises `Missing` without the file, `Invalid`
    when it is not whole, or an input that waits is not the one its record speaks of, `Conflict` when a record is here
    with another content.
    """
    last = await asyncio.to_thread(_checked, file)
    names = {tenant: await store.adopt(tenant, bytes.fromhex(key)) for tenant, key in last.keys.items()}
    found, batch, gone = Taken(), list[Carried](), await store.taken_back()
    for done, call in enumerate(_calls(file, last.calls), 1):
        batch.append(_renamed(call, names))
        if len(batch) == BATCH or done == last.calls:
            found = _sum(found, await store.take(batch, gone))
            batch = []
            progress("taking in", done, last.calls)
    return found


async def _write(store: Store, file: IO[bytes], progress: Progress) -> Carry:
    sha, tenants, counts, at = hashlib.sha256(), set[str](), [0, 0, 0], 0
    gone = await store.taken_back()

    def line(value: Noun) -> None:
        data = to_json(value) + b"\n"
        sha.update(data)
        file.write(data)

    line(First(form=FORM, code=f"insource {insource.__version__}"))
    while True:
        calls, at = await store.calls(at)
        if not calls:
            break
        for call in calls:
            line(msgspec.structs.replace(call, withdrawn=gone.get(call.record.id, ())))
            tenants.add(call.record.tenant)
            settled = call.review is not None
            counts = [counts[0] + 1, counts[1] + (call.pending is not None and not settled), counts[2] + settled]
        progress("writing", counts[0], 0)
    keys = {tenant: key.hex() for tenant, key in (await store.tenant_keys(tenants)).items()}
    file.write(to_json(Last(calls=counts[0], keys=keys, sha256=sha.hexdigest())) + b"\n")
    file.flush()
    os.fsync(file.fileno())
    return Carry(file="", calls=counts[0], waiting=counts[1], reviews=counts[2])


def _checked(file: Path) -> Last:
    """The last line of a file in which everything is as it was written."""
    sha, before, count = hashlib.sha256(), b"", 0
    try:
        from_json(next(_lines(file), b""), First)
    except Invalid as error:
        raise Invalid(f"{file} is no file of insource store export", hint="that verb makes one") from error
    for line in _lines(file):
        sha.update(before)
        before, count = line, count + 1
    try:
        last = from_json(before, Last)
    except Invalid as error:
        raise Invalid(f"{file} is not whole: its last line is missing", hint="copy it again") from error
    if last.sha256 != sha.hexdigest() or last.calls != count - 2:
        raise Invalid(f"{file} was changed on its way", hint="copy it again")
    keys = {tenant: bytes.fromhex(key) for tenant, key in last.keys.items()}
    for call in _calls(file, last.calls):
        said = _odd(call, keys)
        if said:
            raise Invalid(f"{file}: the record {call.record.id} {said}", hint="insource store export makes such a file")
    return last


def _odd(call: Carried, keys: dict[str, bytes]) -> str:
    """What does not belong together in a call, in words."""
    key, waits = keys.get(call.record.tenant), call.pending
    if key is None:
        return "is of a tenant whose key is missing"
    words = _words(call)
    if any(one.record != call.record.id for one in words) or (waits and waits.record != call.record.id):
        return "has a review of another"
    if words and not waits:
        return "has a review, and never waited for one"
    redacted = any(hit.action == "redact" for hit in call.record.found)  # the text that waits is not what was sent
    if waits and not redacted and input_hash(key, waits.input.encode()) != call.record.input_hash:
        return "is of another input than the one that waits"
    return ""


def _words(call: Carried) -> list[Review]:
    """All that people said of a call, what they took back too. Raises `Invalid` where that is none."""
    back = [from_json(one.body, Review) for one in call.withdrawn if one.kind in ROWS]
    if len(back) < len(call.withdrawn):
        raise Invalid("what was taken back is neither a verdict nor a person's word")
    return [*filter(None, [call.review]), *call.opinions, *back]


def _calls(file: Path, count: int) -> Iterator[Carried]:
    lines = _lines(file)
    first = from_json(next(lines), First)
    if first.form not in READS:
        raise Invalid(f"{file} has form {first.form}, this version reads {FORM}", hint="pip install --upgrade insource")
    for _ in range(count):
        yield from_json(next(lines), Carried)


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as opened:
            while line := opened.readline(LONGEST):
                yield line
    except OSError as error:
        raise Missing(f"{file} cannot be read: {error.strerror}") from error


def _renamed(call: Carried, names: dict[str, str]) -> Carried:
    record = msgspec.structs.replace(call.record, tenant=names[call.record.tenant])
    return msgspec.structs.replace(call, record=record)


def _sum(some: Taken, more: Taken) -> Taken:
    return Taken(**{name: getattr(some, name) + getattr(more, name) for name in Taken.__struct_fields__})
