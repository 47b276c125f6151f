"""The files that a batch writes: answers as they come, then all in order, and what could not be read."""

import fcntl
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path as FilePath
from types import TracebackType
from typing import IO, NamedTuple, Self

import msgspec

from insource.collect.documents import PARQUETS, numbered
from insource.collect.tables_out import CsvOut, ParquetOut
from insource.errors import Conflict, Invalid, StoreError
from insource.journeys.batch_row import Row
from insource.nouns import JsonValue, Task, from_json, to_json
from insource.store import Store

BEGINS = b'{"id":'  # a line out
SOME = 1024
AFTER = ("confidence", "decision", "release", "record", "error")


class Planned(NamedTuple):
    """A document in its place. `key` is empty where it cannot be asked, and `fault` says why."""

    line: int
    id: str | None
    key: str
    fault: str


class Reject(msgspec.Struct, frozen=True):
    """A line of the file of rejects."""

    line: int
    id: str | None
    reason: str


class Journal:
    """OUT.part, opened for appending by one process at a time: the answers as they come."""

    def __init__(self, out: FilePath, source: FilePath) -> None:
        if source.resolve() == out.resolve():
            raise Invalid("the answers would overwrite the inputs", hint="give --out another name")
        self.path = out.with_name(out.name + ".part")

    def __enter__(self) -> Self:
        try:
            if self.path.is_file() and _strange(self.path):
                words = f"{self.path} is no file of an earlier run"
                raise Conflict(words, hint="answers under way are kept there: move it away, or give --out another name")
            self._file = _held(self.path)
        except BlockingIOError as error:
            raise Conflict(f"another run is writing {self.path}", hint="wait for it to end") from error
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written: {error.strerror}", hint="free some space, run again"
            ) from error
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        with suppress(OSError):  # a row that could not be flushed was reported when it was written
            self._file.close()

    def write(self, row: Row) -> None:
        """Adds an answer. Raises `StoreError`."""
        try:
            self._file.write(to_json(row) + b"\n")
            self._file.flush()
        except OSError as error:
            raise StoreError(
                f"an answer could not be written: {error.strerror}", hint="free disk space, then run the same again"
            ) from error

    def done(self) -> None:
        """Removes it: all that was in it is in OUT."""
        self.path.unlink(missing_ok=True)


def _held(part: FilePath) -> IO[bytes]:
    """The file, opened for appending and locked. Raises `OSError`, `BlockingIOError` while another has it."""
    while True:
        file = part.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(file, part):
                if file.tell():
                    file.write(b"\n")  # ends a line that was cut off; an empty line is no row
                return file
        except OSError:
            file.close()
            raise
        file.close()  # the run that had it is done and removed it: locked without a name it would keep nobody away


def _is_there(file: IO[bytes], part: FilePath) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), part.stat())
    except FileNotFoundError:
        return False


def _strange(part: FilePath) -> bool:
    """Whether the file begins with something else than a row; a row may have been cut off anywhere."""
    first = next((line for _, line in numbered(part) if line.strip()), b"")
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


def rejects_of(out: FilePath) -> FilePath:
    """Where the documents that cannot be read are named."""
    return out.with_name(out.name + ".rejects.jsonl")


async def finish(plan: Sequence[Planned], out: FilePath, task: Task, store: Store) -> None:
    """Writes OUT in the order of the inputs, whole, and the rejects beside it.

    A file of JSON lines has the rejects in their places as well, a table has not. Raises `StoreError`, `Missing`
    without what writes parquet.
    """
    whole = out.with_name(out.name + ".whole")
    form = FORMS.get(out.suffix.lower(), _Lines)
    try:
        with form(whole, task) as file:
            for at in range(0, len(plan), SOME):
                file.write(await _rows(plan[at : at + SOME], store, with_rejects=form is _Lines))
        whole.replace(out)
        _write_rejects(rejects_of(out), [one for one in plan if one.fault])
    except OSError as error:
        raise StoreError(
            f"{out} could not be written: {error.strerror}", hint="free disk space, then run the same again"
        ) from error
    finally:
        whole.unlink(missing_ok=True)


async def _rows(plan: Sequence[Planned], store: Store, *, with_rejects: bool) -> list[Row]:
    known = await store.batches.bodies([one.key for one in plan if one.key])
    rows = []
    for one in plan:
        if one.fault:
            rows += [Row(id=one.id, error=one.fault)] if with_rejects else []
        elif one.key not in known:
            raise Conflict("an answer was removed from the store meanwhile", hint="run the same again")
        else:
            rows.append(msgspec.structs.replace(from_json(known[one.key], Row), id=one.id))
    return rows


def _write_rejects(path: FilePath, rejects: Sequence[Planned]) -> None:
    if not rejects:
        path.unlink(missing_ok=True)  # of an earlier run
        return
    lines = [to_json(Reject(one.line, one.id, one.fault.partition(": ")[2])) + b"\n" for one in rejects]
    whole = path.with_name(path.name + ".whole")
    whole.write_bytes(b"".join(lines))
    whole.replace(path)


class _Lines:
    """JSON lines."""

    def __init__(self, path: FilePath, _: Task) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: Iterable[Row]) -> None:
        """Adds rows."""
        self._file.write(b"".join(to_json(row) + b"\n" for row in rows))


class _Table:
    """A table, in the form that `kind` writes."""

    kind: type[CsvOut] | type[ParquetOut]

    def __init__(self, path: FilePath, task: Task) -> None:
        self._outputs = outputs(task)
        self._file = self.kind(path, columns(self._outputs), numbers=("confidence",))

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()

    def write(self, rows: Iterable[Row]) -> None:
        """Adds rows."""
        self._file.write([cells(row, self._outputs) for row in rows])


class _Csv(_Table):
    kind = CsvOut


class _Parquet(_Table):
    kind = ParquetOut


FORMS: dict[str, type[_Lines] | type[_Table]] = {".csv": _Csv, **dict.fromkeys(PARQUETS, _Parquet)}


def outputs(task: Task) -> tuple[str, ...]:
    """The fields of the task's answers, each a column; none where an answer is no object of known fields."""
    if task.outputs:
        return tuple(output.name for output in task.outputs)
    properties = (task.schema or {}).get("properties")
    return tuple(properties) if isinstance(properties, dict) else ()


def columns(fields: Sequence[str]) -> list[str]:
    """The names of a table's columns."""
    return ["id", *([f"output.{name}" for name in fields] or ["output"]), *AFTER]


def cells(row: Row, fields: Sequence[str]) -> list[JsonValue]:
    """The row as cells."""
    said = row.output or {}
    values = [said.get(name) for name in fields] if fields else [row.output]
    return [row.id, *values, *(getattr(row, name) for name in AFTER)]
