"""Batches of calls at work: each is answered as a live call is, within the limits of its key, when there is room.

One gateway is at work on a batch. What a call came to is kept before the next is asked; where the gateway ends, or is
killed, another or the next goes on behind that.
"""

import asyncio
import hashlib
import io
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from insource.errors import EngineBusy, InsourceError, Missing, OverLimit, StoreError
from insource.journeys.batch_run import at_work
from insource.nouns import ANYBODY, JsonObject, Key, to_json
from insource.nouns.filing import UNDER_WAY, CallBatch, LineFault
from insource.serve import wire
from insource.serve.answered import no_answer
from insource.serve.ask import Asked, Unanswered, ask
from insource.serve.batches import moved
from insource.serve.desk import Desk
from insource.serve.exchange import Exchange
from insource.serve.faults import error_body
from insource.serve.files import bytes_of, keep_file, new_file
from insource.serve.keyring import Keyring, no_key
from insource.store.batches import Settled
from insource.store.opened import IN_FILE

LOOK_S, SAY_S = 1.0, 0.5
ELSEWHERE_S = 30.0  # a batch whose file is not here is left to other gateways for so long
AT_ONCE_WRITTEN = 2  # files that callers send
MOST_BATCHES, OF_ONE, AT_ONCE = 4, 2, 16  # at work at once; those of one tenant; calls of one at a time
MOST_LINES, MOST_FAULTS = 50_000, 100
TRIES, AGAIN_S, LONGEST_WAIT_S = 4, 1.0, 30.0
SOME = 512
NOT_DONE = {"batch_expired": "the 24 hours of the batch were over before this was answered"}


class _Form(msgspec.Struct, kw_only=True):
    """One line of an input file."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=512)]
    method: Literal["POST"]
    url: str
    body: msgspec.Raw


class _Line(NamedTuple):
    """A call to make, and the key under which its answer is kept."""

    name: str
    body: bytes
    key: str


class _Nobody:
    """The connection of a call that came over none: nobody leaves, nothing is sent."""

    write_paused = False

    def write(self, data: bytes, /) -> None:
        """Sends nothing."""

    async def drained(self) -> None:
        """Nothing piles up."""

    def resume_reading(self) -> None:
        """There is nothing to read."""

    def every_head(self) -> bytes:
        """No headers."""
        return b""

    def answered(self, exchange: Exchange, /) -> None:
        """Nobody waits."""

    def close(self) -> None:
        """Nothing is open."""


class BatchWork:
    """What a gateway does for batches. `noted` is set when there may be a new one; `room` is there for a file."""

    def __init__(self, desk: Desk, keyring: Keyring) -> None:
        self._desk, self._keyring = desk, keyring
        self.noted = asyncio.Event()
        self.room = asyncio.Semaphore(AT_ONCE_WRITTEN)
        self._running: dict[str, asyncio.Task[bool]] = {}
        self._not_here: dict[str, float] = {}  # until when others may find the file of a batch

    async def work(self) -> None:
        """Takes batches, until cancelled."""
        while True:
            with suppress(StoreError):
                async with at_work(self._desk.store) as holder:
                    try:
                        await self._look(holder)
                    finally:
                        tasks = list(self._running.values())
                        for task in tasks:
                            task.cancel()
                        await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(LOOK_S)  # the next look may find a store

    async def _look(self, holder: str) -> None:
        store = self._desk.store
        while True:
            found = await store.filing.under_way()
            busy = Counter(seen.tenant for seen in found if seen.id in self._running)
            now = time.monotonic()
            self._not_here = {name: until for name, until in self._not_here.items() if until > now}
            for seen in found:
                full = len(self._running) >= MOST_BATCHES or busy[seen.tenant] >= OF_ONE
                if full or seen.id in self._running or seen.id in self._not_here:
                    continue
                if not (await store.batches.claim([seen.id], "", holder, 1))[seen.id].mine:
                    continue
                batch = await store.filing.batch(seen.tenant, seen.id)
                if batch.status not in UNDER_WAY:  # it ended since it was seen
                    await store.batches.forget([batch.id])
                    continue
                run = _Running(self._desk, self._keyring, batch, holder)
                busy[batch.tenant] += 1  # one that waits for its limits must not keep all others out
                self._running[batch.id] = task = asyncio.create_task(run.run())
                task.add_done_callback(lambda done, name=batch.id: self._ran(name, done))  # type: ignore[misc]
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self.noted.wait()
            self.noted.clear()

    def _ran(self, name: str, task: asyncio.Task[bool]) -> None:
        self._running.pop(name, None)
        if not task.cancelled() and task.exception() is None and not task.result():
            self._not_here[name] = time.monotonic() + ELSEWHERE_S


class _Running:
    """One batch at work."""

    def __init__(self, desk: Desk, keyring: Keyring, batch: CallBatch, holder: str) -> None:
        self._desk, self._keyring, self._holder = desk, keyring, holder
        self.batch, self._lines = batch, list[_Line]()
        self._ended = asyncio.Event()

    async def run(self) -> bool:
        """Brings the batch to its end; False where its file is not here. A store that is down ends only this try."""
        with suppress(StoreError):
            try:
                return await self._run()
            except InsourceError as error:
                if isinstance(error, StoreError):
                    raise
                await self._fail([LineFault(code=error.code, message=str(error))])
        return True

    async def _run(self) -> bool:
        store = self._desk.store
        sent = await store.filing.file(self.batch.tenant, self.batch.input)
        try:
            # its bytes have no name here: they go once they are read, not at the end of the batch
            self._lines, faults = await asyncio.to_thread(_read, await bytes_of(self._desk, sent), self.batch)
        except Missing:
            if self._desk.settings.store.url in ("", IN_FILE):  # there is no other host
                raise
            await self._leave()
            return False
        if faults:
            await self._fail(faults)
            return True
        if self.batch.status == "validating":
            begun = moved(self.batch, "in_progress", total=len(self._lines))
            if await store.filing.change(begun, "validating"):
                self.batch = begun
        if self.batch.status == "in_progress":
            await self._keyring.look()  # another gateway may know the key, and this one not yet
            await self._answer_all()
        await self._finish()
        return True

    async def _leave(self) -> None:
        """Its file is on another host's disk: one that has it may claim the batch, for as long as there is time."""
        if time.time() > self.batch.expires:
            where = "where several hosts serve, name a place that they share under [artefacts] of insource.toml"
            words = f"{self.batch.input} lies on the disk of a host that was not there in time: {where}"
            await self._fail([LineFault(code="file_not_here", message=words)])
        elif await self._is_mine():
            await self._desk.store.batches.forget([self.batch.id])

    async def _fail(self, faults: list[LineFault]) -> None:
        store = self._desk.store
        now = await store.filing.batch(self.batch.tenant, self.batch.id)
        await store.filing.change(moved(now, "failed", faults=tuple(faults)), now.status)
        await store.batches.forget([now.id])

    async def _answer_all(self) -> None:
        store = self._desk.store
        known, right = set[str](), 0
        for some in _parts(self._lines):
            found = await store.batches.bodies([line.key for line in some])
            known.update(found)
            right += sum(map(_is_right, found.values()))
        counts = {True: right, False: len(known) - right}
        left = iter([line for line in self._lines if line.key not in known])

        async def some_calls() -> None:
            for line in left:
                said = await self._one(line)
                if said is None:
                    return
                body, record = said
                await store.batches.settle(
                    Settled(line.key, "", "done", self._holder, 1, record, to_json(body).decode())
                )
                counts[body["response"]["status_code"] == 200] += 1

        watching = asyncio.create_task(self._watch(counts))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(some_calls())
        except ExceptionGroup as several:
            raise several.exceptions[0] from several
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, counts: dict[bool, int]) -> None:
        """Says how far it is, and hears of its end: of its own, of its time, or that it is another's now."""
        store = self._desk.store
        while not self._ended.is_set():
            await asyncio.sleep(SAY_S)
            with suppress(StoreError):
                said = msgspec.structs.replace(self.batch, completed=counts[True], failed=counts[False])
                goes_on = await self._is_mine() and await store.filing.change(said, "in_progress")
                if not goes_on or time.time() > self.batch.expires:
                    self._ended.set()

    async def _one(self, line: _Line) -> tuple[JsonObject, str | None] | None:
        """What a call came to, with its record; None where the batch ended before."""
        tries = 0
        while not self._ended.is_set():
            try:
                if self._desk.in_flight > self._desk.settings.serve.queue // 2:
                    raise EngineBusy("live calls go first")
                return await self._asked(line)
            except Unanswered as failed:
                tries += 1
                if not failed.error.retryable or tries >= TRIES:
                    return _line(line.name, failed.error.status, error_body(failed.error), failed.record)
                await self._pause(AGAIN_S * 2**tries)
            except InsourceError as error:
                seconds = _wait_s(error)
                if seconds is None:
                    return _line(line.name, error.status, error_body(error), None)
                await self._pause(seconds)
        return None

    async def _asked(self, line: _Line) -> tuple[JsonObject, str | None]:
        call = wire.read_call(line.body)
        key, call.stream = self._key(), False
        self._desk.check(key, call.model)
        exchange = Exchange(_Nobody(), {"type": "http"}, keeps=False, expects=False)
        found = await ask(self._desk, Asked(call, key, await self._desk.name(call, key)), exchange)
        record, refused = found.records[0], no_answer(found)
        if refused is not None:
            return _line(line.name, refused.status, error_body(refused), record.id)
        return _line(line.name, 200, wire.completion(found.records, call, found.path.task, int(time.time())), record.id)

    def _key(self) -> Key:
        """Whose batch it is. Raises `Unauthorized` where the key does not hold any more."""
        if not self.batch.key and self._keyring.open:
            return ANYBODY
        key = self._keyring.still(self.batch.key)
        if key is None:
            raise no_key()
        return key

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def _is_mine(self) -> bool:
        """False where this gateway was silent for so long that another took it for gone, and works in its place."""
        return await self._desk.store.batches.holds(self.batch.id, self._holder)

    async def _finish(self) -> None:
        """Writes the files, then says that the batch has ended."""
        store = self._desk.store
        batch = await store.filing.batch(self.batch.tenant, self.batch.id)
        if batch.status not in UNDER_WAY or not await self._is_mine():
            return
        if batch.status == "in_progress":
            before, batch = batch.status, moved(batch, "finalizing")
            if not await store.filing.change(batch, before):
                return  # it was cancelled just now: the next look ends it so
        right, wrong, missing = await self._sorted(cancelled=batch.status == "cancelling")
        output, errors = await self._file(right, "output"), await self._file(wrong, "error")
        files = {"output": output, "errors_file": errors, "total": len(self._lines)}
        ended = moved(batch, _end(batch, missing), completed=len(right), failed=len(wrong), **files)
        if await store.filing.change(ended, batch.status):
            await store.batches.forget([self.batch.id, *(line.key for line in self._lines)])

    async def _sorted(self, *, cancelled: bool) -> tuple[list[bytes], list[bytes], int]:
        """The lines of the output and of the errors, in order, and how many were not answered.

        Those are errors unless the batch was cancelled: its time was over.
        """
        right, wrong, missing = list[bytes](), list[bytes](), 0
        for some in _parts(self._lines):
            known = await self._desk.store.batches.bodies([line.key for line in some])
            missing += len(some) - len(known)
            for line in some:
                body = known.get(line.key)
                if body is not None:
                    (right if _is_right(body) else wrong).append(body.encode() + b"\n")
                elif not cancelled:
                    wrong.append(to_json(_unasked(line.name, "batch_expired")) + b"\n")
        return right, wrong, missing

    async def _file(self, lines: list[bytes], kind: str) -> str | None:
        """Keeps lines as a file whose name follows from the batch's: written twice, it is there once."""
        if not lines:
            return None
        name = "file-" + hashlib.sha256(f"{self.batch.id} {kind}".encode()).hexdigest()[:24]
        made = new_file(self.batch.tenant, f"{self.batch.id}_{kind}.jsonl", "batch_output", name)
        return (await keep_file(self._desk, made, b"".join(lines))).id


def _end(batch: CallBatch, missing: int) -> str:
    """How a batch ends of which nothing is under way any more. Not by the clock: what is complete is not late."""
    if batch.status == "cancelling":
        return "cancelled"
    return "expired" if missing else "completed"


def _wait_s(error: InsourceError) -> float | None:
    """In how many seconds what refused a call may not refuse it any more; None: it always will."""
    if isinstance(error, OverLimit):
        return None if error.retry_s is None else min(error.retry_s, LONGEST_WAIT_S)
    return AGAIN_S if isinstance(error, EngineBusy | StoreError) else None


def _read(data: bytes, batch: CallBatch) -> tuple[list[_Line], list[LineFault]]:
    """The calls of a file, and what is wrong with it; one with too many lines is read no further."""
    lines, faults, names = list[_Line](), list[LineFault](), set[str]()
    for number, text in enumerate(io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")), 1):
        if not text.strip():
            continue
        if len(lines) >= MOST_LINES:
            faults.append(LineFault(code="too_many_lines", message=f"a batch has at most {MOST_LINES:,} lines"))
            break
        fault = ""
        try:
            form = msgspec.json.decode(text, type=_Form)
            fault = "" if form.url == batch.endpoint else f"url is not {batch.endpoint}"
            fault = fault or ("the custom_id was used before" if form.custom_id in names else "")
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            fault = str(error)
        if fault:
            faults.append(LineFault(code="invalid_line", message=fault, line=number))
            if len(faults) >= MOST_FAULTS:
                break
            continue
        names.add(form.custom_id)
        key = hashlib.sha256(f"{batch.id} {form.custom_id}".encode()).hexdigest()
        lines.append(_Line(form.custom_id, bytes(form.body), key))
    if not lines and not faults:
        faults.append(LineFault(code="empty_file", message="the file has no lines"))
    return lines, faults


def _line(name: str, status: int, body: JsonObject, record: str | None) -> tuple[JsonObject, str | None]:
    """One line out, and its record."""
    own = f"batch_req_{hashlib.sha256(f'{name} {record}'.encode()).hexdigest()[:24]}"
    response = {"status_code": status, "request_id": record or own, "body": body}
    return {"id": own, "custom_id": name, "response": response, "error": None}, record


def _unasked(name: str, code: str) -> JsonObject:
    own = f"batch_req_{hashlib.sha256(name.encode()).hexdigest()[:24]}"
    return {"id": own, "custom_id": name, "response": None, "error": {"code": code, "message": NOT_DONE[code]}}


def _is_right(body: str) -> bool:
    return bool(msgspec.json.decode(body)["response"]["status_code"] == 200)


def _parts(lines: list[_Line]) -> Iterator[list[_Line]]:
    return (lines[at : at + SOME] for at in range(0, len(lines), SOME))
