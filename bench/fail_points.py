"""The command line, killed with SIGKILL where it is told to: python bench/fail_points.py POINT NTH [insource's words].

The product knows nothing of this: named functions of it are wrapped from outside, and the process ends before or after
the NTH time that one is called. A point whose function is gone is an error, not a point that is never reached.
"""

import asyncio
import functools
import importlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple


class Point(NamedTuple):
    """A moment: before or after a call of the function at `where` (MODULE:NAME[.NAME]), or while the log is moved."""

    where: str
    when: Literal["before", "after", "tidying"]


POINTS = {
    "before the intent": Point("insource.store.store:Store.intend", "before"),
    "intent written, not committed": Point("insource.store.records:intend", "after"),
    "intent durable, nobody asked": Point("insource.store.store:Store.intend", "after"),
    "committed, not yet synced": Point("insource.store.group:sync", "before"),
    "the engine is asked": Point("insource.engines.scripted:Scripted.complete", "before"),
    "the engine has answered": Point("insource.engines.scripted:Scripted.complete", "after"),
    "outcome written, not committed": Point("insource.store.records:append", "after"),
    "outcome durable, answer not sent": Point("insource.store.store:Store.append", "after"),
    "some words of a stream are out": Point("insource.serve.stream:Words.event", "after"),
    "all words of a stream, not its end": Point("insource.serve.stream:_end", "before"),
    "the log is moved into the database": Point("insource.store.records:append", "tidying"),
    "the gateway moves its log": Point("insource.store.thread:StoreThread.checkpoint", "before"),
    "the gateway has moved its log": Point("insource.store.thread:StoreThread.checkpoint", "after"),
    "checkpoint signed, not written": Point("insource.store.checkpoints:sign", "after"),
    "checkpoint written": Point("insource.store.checkpoints:write", "after"),
    "calls of the dead ended, not committed": Point("insource.store.records:interrupt", "after"),
    "old records removed, not committed": Point("insource.store.retention:_remove", "after"),
    "old records removed": Point("insource.store.store:Store.prune", "after"),
    "a key replaced, not committed": Point("insource.store.keys:replace", "after"),
    "a key replaced, not shown": Point("insource.store.store:Store.replace_key", "after"),
    "a new store half made": Point("insource.store.migrations:_note", "before"),
}


def found(point: Point) -> tuple[Any, str, Callable[..., Any]]:
    """What holds the point's function, its name there, and the function. Raises `AttributeError` where it is gone."""
    module, _, path = point.where.partition(":")
    *holders, name = path.split(".")
    holder: Any = importlib.import_module(module)
    for part in holders:
        holder = getattr(holder, part)
    return holder, name, getattr(holder, name)


def die() -> None:
    """The end, as a power cut has it."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_tidying(root: Path) -> None:
    """The end at some moment while the write-ahead log is moved into the database, over and over."""
    import pysqlite3.dbapi2

    def tidy() -> None:
        connection = pysqlite3.dbapi2.connect(root / ".insource" / "insource.db", timeout=10)
        while True:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def end() -> None:
        time.sleep(random.uniform(0.0, 0.05))  # noqa: S311 - a moment, no secret
        die()

    for work in (tidy, end):
        threading.Thread(target=work, daemon=True).start()


def arm(name: str, nth: int, root: Path) -> None:
    """From now on the process ends at the `nth` time of that point."""
    point = POINTS[name]
    holder, attribute, function = found(point)
    lock, left = threading.Lock(), [nth]

    def pass_by(side: str) -> None:
        if side != ("before" if point.when == "before" else "after"):
            return
        with lock:
            left[0] -= 1
            if left[0] == 0:
                die_tidying(root) if point.when == "tidying" else die()

    @functools.wraps(function)
    def plain(*given: Any, **more: Any) -> Any:
        pass_by("before")
        said = function(*given, **more)
        pass_by("after")
        return said

    @functools.wraps(function)
    async def awaited(*given: Any, **more: Any) -> Any:
        pass_by("before")
        said = await function(*given, **more)
        pass_by("after")
        return said

    setattr(holder, attribute, awaited if asyncio.iscoroutinefunction(function) else plain)


def main() -> None:
    """Arms, and goes on as `insource`. What is done once an hour is done every second."""
    from insource.cli.main import main as insource
    from insource.serve import books

    name, nth, *words = sys.argv[1:]
    books.PRUNE_S = 1.0
    arm(name, int(nth), Path(words[words.index("-C") + 1]))
    sys.argv = ["insource", *words]
    insource()


if __name__ == "__main__":
    main()
