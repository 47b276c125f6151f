"""A file of inputs, answered through the same path as every call. Stopped at any moment, a second run goes on.

Answers are written to OUT.part as they come, one line each; at the end OUT is written in the order of the inputs and
takes its place whole. An answer is used again only if its record is in the store and was for the same input.
"""

import asyncio
import fcntl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import IO

import msgspec

from insource.errors import Conflict, InsourceError, Invalid, Missing, StoreError
from insource.journeys.answer import Path, answer, check_input, input_hash
from insource.journeys.lineup import Progress, quiet
from insource.nouns import WAITS, JsonObject, Noun, Record, Task, ask, from_json, record_id, to_json
from insource.store import Store

AT_ONCE = 64
LONGEST = 8_000_000  # bytes of a line
TENANT = "local"
BEGINS = b'{"id":'  # a line out
PATIENCE_S = 3600.0  # nobody waits for one answer of a batch; a long document takes minutes


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One line in. Other keys are ignored; `meta` is the caller's own."""

    id: str | int
    input: str
    meta: JsonObject | None = None


class Row(Noun, frozen=True, kw_only=True):
    """One line out. `error` says why there is no valid output; it is None otherwise.

    Of what is out of scope there is no output and no error: it waits for a person.
    An extraction also has `fields`, the confidence of each, and `places`, where each value stands in the input
    (`nouns.Prediction`).
    """

    id: str | None
    output: JsonObject | None = None
    confidence: float | None = None
    fields: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    places: JsonObject | msgspec.UnsetType = msgspec.UNSET
    decision: str | None = None
    release: str | None = None
    record: str | None = None
    error: str | None = None


class Summary(Noun, frozen=True, kw_only=True):
    """What became of the file. `reused` were answered by an earlier run, `bad` could not be read, `failed` answered."""

    task: str
    out: str
    rows: int
    reused: int
    answered: int
    review: int
    bad: int
    failed: int


def row_of(id: str, record: Record, path: Path) -> Row:
    """The line out for an answered call."""
    said = record.answer
    value = said.value if said and not record.withheld else None
    placed = said is not None and value is not None and path.task is not None and path.task.kind == "extract"
    return Row(
        id=id,
        output=value,
        confidence=said.confidence if said else None,
        fields=said.fields if said and placed else msgspec.UNSET,
        places=said.places if said and placed else msgspec.UNSET,
        decision=record.outcome,
        release=record.release or record.attempts[record.tier - 1].decision.engine,
        record=record.id,
        error=None
        if value is not None or record.withheld
        else f"no valid answer: {record.attempts[-1].decision.reason}",
    )


@dataclass
class _Work:
    """The lines of one run: what is asked, and the rows there are, both by line number."""

    task: Task
    asked: dict[int, Ask] = field(default_factory=dict)
    rows: dict[int, Row] = field(default_factory=dict)
    bad: int = 0
    reused: int = 0


async def batch(
    source: FilePath, out: FilePath, path: Path, store: Store, *, progress: Progress = quiet, at_once: int = AT_ONCE
) -> Summary:
    """Answers every line of `source` into `out`, `at_once` calls at a time.

    A line that cannot be read, and a call that no engine answered, get a row with `error`; the latter is asked again
    by the next run. Raises `Missing` without the file, `Conflict` when another run writes to `out`, `StoreError` when
    the disk or the store fails.
    """
    if path.task is None:
        raise Invalid("a batch is answered by a task")
    part = out.with_name(out.name + ".part")
    work = _read(path.task, source)
    with _Journal(part, source, out) as journal:
        await _reuse(work, [out, part], store)
        await _answer_all(work, path, store, _Ink(journal, progress, at_once))
        _finish(work, out, part)
    return _summary(work, out)


@dataclass(frozen=True)
class _Ink:
    journal: IO[bytes]
    progress: Progress
    at_once: int


async def _answer_all(work: _Work, path: Path, store: Store, ink: _Ink) -> None:
    todo = iter([number for number in work.asked if number not in work.rows])
    total = len(work.asked) + work.bad
    ink.progress("answering", len(work.rows), total)

    async def one_after_another() -> None:
        for number in todo:
            row = await _answer(work.task, work.asked[number], path, store)
            work.rows[number] = row
            _write(ink.journal, row)
            ink.progress("answering", len(work.rows), total)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(ink.at_once):
                group.create_task(one_after_another())
    except ExceptionGroup as several:
        raise several.exceptions[0] from several


async def _answer(task: Task, asked: Ask, path: Path, store: Store) -> Row:
    request = ask(task, asked.input, id=record_id(), tenant=TENANT)
    request = msgspec.structs.replace(request, deadline=PATIENCE_S)
    try:
        record = await answer(request, path, store.append)
    except StoreError:
        raise
    except InsourceError as error:
        return Row(id=str(asked.id), error=f"{error.code}: {error}")
    return row_of(str(asked.id), record, path)


def _read(task: Task, source: FilePath) -> _Work:
    work, seen = _Work(task), dict[str, int]()
    for number, line in _lines(source):
        if not line.strip():
            continue
        try:
            asked = msgspec.json.decode(line, type=Ask)
            asked.input.encode()
            check_input(asked.input)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, Invalid) as error:
            work.rows[number] = Row(id=None, error=f"line {number}: {error}")
            work.bad += 1
            continue
        first = seen.setdefault(str(asked.id), number)
        if first != number:
            work.rows[number] = Row(id=str(asked.id), error=f"line {number}: the id was used on line {first}")
            work.bad += 1
            continue
        work.asked[number] = asked
    return work


def _lines(source: FilePath) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers. One that is too long to be an input comes cut, so it is no JSON any more."""
    try:
        with source.open("rb") as file:
            number = 0
            while line := file.readline(LONGEST):
                number += 1
                yield number, line
                while len(line) == LONGEST and not line.endswith(b"\n"):
                    line = file.readline(LONGEST)
    except OSError as error:
        raise Missing(f"{source} cannot be read: {error.strerror}", hint='one {"id": …, "input": …} a line') from error


async def _reuse(work: _Work, files: list[FilePath], store: Store) -> None:
    """Takes over the answers that earlier runs gave to the same inputs."""
    earlier = {row.id: row for path in files if path.exists() for row in _rows(path)}
    hashes = await store.input_hashes([row.record for row in earlier.values() if row.record])
    key = await store.tenant_key(TENANT)
    for number, asked in work.asked.items():
        row = earlier.get(str(asked.id))
        if row is None or row.error is not None or row.record is None:
            continue
        if hashes.get(row.record) == input_hash(key, asked.input.encode()):
            work.rows[number] = row
            work.reused += 1


def _rows(path: FilePath) -> Iterator[Row]:
    """The rows of an earlier run; a last line that was cut off is left out."""
    for _, line in _lines(path):
        try:
            yield from_json(line, Row)
        except Invalid:
            continue


class _Journal:
    """OUT.part, opened for appending by one process at a time."""

    def __init__(self, part: FilePath, source: FilePath, out: FilePath) -> None:
        if source.resolve() == out.resolve():
            raise Invalid("the answers would overwrite the inputs", hint="give --out another name")
        self._part = part

    def __enter__(self) -> IO[bytes]:
        try:
            if self._part.is_file() and _strange(self._part):
                words = f"{self._part} is no file of an earlier run"
                raise Conflict(words, hint="answers under way are kept there: move it away, or give --out another name")
            self._file = self._part.open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._file.tell():
                self._file.write(b"\n")  # ends a line that was cut off; an empty line is no row
        except BlockingIOError as error:
            raise Conflict(f"another run is writing {self._part}", hint="wait for it to end") from error
        except OSError as error:
            raise StoreError(
                f"{self._part} cannot be written: {error.strerror}", hint="free some space, run again"
            ) from error
        return self._file

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a row that could not be flushed was reported when it was written
            self._file.close()


def _strange(part: FilePath) -> bool:
    """Whether the file begins with something else than a row; a row may have been cut off anywhere."""
    first = next((line for _, line in _lines(part) if line.strip()), b"")
    try:
        from_json(first, Row)
    except Invalid:
        return not first.startswith(BEGINS[: len(first)]) or _is_json(first)
    return False


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _write(journal: IO[bytes], row: Row) -> None:
    try:
        journal.write(to_json(row) + b"\n")
        journal.flush()
    except OSError as error:
        raise StoreError(
            f"an answer could not be written: {error.strerror}", hint="free disk space, then run the same again"
        ) from error


def _finish(work: _Work, out: FilePath, part: FilePath) -> None:
    """Writes OUT in the order of the inputs, whole, and removes the journal."""
    whole = out.with_name(out.name + ".whole")
    try:
        with whole.open("wb") as file:
            for number in sorted(work.rows):
                file.write(to_json(work.rows[number]) + b"\n")
        whole.replace(out)
        part.unlink()
    except OSError as error:
        whole.unlink(missing_ok=True)
        raise StoreError(
            f"{out} could not be written: {error.strerror}", hint="free disk space, then run the same again"
        ) from error


def _summary(work: _Work, out: FilePath) -> Summary:
    given = [row for row in work.rows.values() if row.error is None]
    review = sum(row.decision in WAITS for row in work.rows.values())
    return Summary(
        task=work.task.name,
        out=str(out),
        rows=len(work.rows),
        reused=work.reused,
        answered=sum(row.decision not in WAITS for row in given),
        review=review,
        bad=work.bad,
        failed=sum(row.error is not None for row in work.rows.values()) - work.bad,
    )
