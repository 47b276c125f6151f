"""Several processes behind one address: one that binds and waits, and its children, each a whole gateway.

    the parent: binds ─▶ starts each child with its socket ─▶ says so once all answer ─▶ starts again one that dies
                                                             SIGTERM ─▶ tells all ─▶ waits until they have drained

The system gives each connection to one of them: all take connections from the one socket that they have from their
parent. A child that dies costs the calls that it had; while it is started again the others take what comes.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from insource.errors import InsourceError
from insource.settings import inherited_environment

FIRST_S, LONGEST_S = 0.2, 30.0  # before a child is started again: twice as long each time, until one lasts
LASTS_S = 60.0
DRAIN_S = 45.0  # a child has 30 s for the calls it has begun, and 5 for last words
READY = b"ready\n"


class NotStarted(InsourceError):
    """A child could not be started, or ended before it answered."""


@dataclass
class _Child:
    """One child, its number among them, when it was started, and how often in a row it did not last.

    `fault` says why none could be started in its place.
    """

    number: int
    process: asyncio.subprocess.Process
    began: float
    fails: int = 0
    fault: str = ""


class Workers:
    """So many children as `count`, each `command` with `--worker FD NUMBER` behind it, that take calls from `bound`.

    A child writes a line to the pipe FD once it answers. `say` is told of deaths.
    """

    def __init__(self, bound: socket.socket, count: int, command: Sequence[str], say: Callable[[str], None]) -> None:
        self._bound, self._count, self._command, self._say = bound, count, command, say
        self._children: dict[int, _Child] = {}
        self._ends = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> int:
        """Runs until SIGTERM or Ctrl-C; how many children did not end well. `ready` is called once all answer.

        Raises `NotStarted` where one ends before that: the next would too.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            begun = await asyncio.gather(
                *[self._start(number) for number in range(self._count)], return_exceptions=True
            )
            failed = next((one for one in begun if isinstance(one, BaseException)), None)
            if failed is not None and not self._ends.is_set():
                raise failed
            if not self._ends.is_set():
                ready()
            watching = [asyncio.create_task(self._watch(number)) for number in list(self._children)]
            await self._ends.wait()
            await self._end_all()
            watched, _ = await asyncio.wait(watching, timeout=DRAIN_S)
            for one in watched:
                one.result()
            return sum(child.process.returncode != 0 for child in self._children.values())
        finally:
            await self._end_all()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _watch(self, number: int) -> None:
        """Starts the child again whenever it dies, until all are to end."""
        while True:
            child = self._children[number]
            code = await child.process.wait()
            if self._ends.is_set():
                return
            fails = 0 if time.monotonic() - child.began > LASTS_S else child.fails + 1
            pause = min(FIRST_S * 2 ** min(fails, 16), LONGEST_S)
            why = child.fault or f"worker {number} ended ({_why(code)})"
            self._say(f"{why} and is started again in {pause:g} s")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ends.wait()
            if self._ends.is_set():
                return
            try:
                await self._start(number, fails)
            except NotStarted as error:  # where no process came of it, the one before is there: it fails once more
                child.began, child.fails, child.fault = time.monotonic(), fails, str(error)

    async def _start(self, number: int, fails: int = 0) -> None:
        try:
            read, process = await self._spawn(number)
        except OSError as error:
            raise NotStarted(f"worker {number} was not started ({error.strerror})") from error
        self._children[number] = _Child(number, process, time.monotonic(), fails)
        if self._ends.is_set():  # since it was begun: it was not among those that were told
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        if await asyncio.to_thread(_first_line, read) != READY:
            raise NotStarted(f"worker {number} ended before it answered ({_why(await process.wait())})")

    async def _spawn(self, number: int) -> tuple[int, asyncio.subprocess.Process]:
        """A new child, and the end of the pipe on which it will say that it answers. Raises `OSError`."""
        read, write = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "--worker",
                f"{self._bound.fileno()},{write},{number}",
                pass_fds=(self._bound.fileno(), write),
                stdin=asyncio.subprocess.DEVNULL,
                env=inherited_environment(),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which tells them in order
            )
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        return read, process

    def _stop(self) -> None:
        """Tells every child to end; the second time at once. Who comes now is refused, and not left to wait."""
        again = self._ends.is_set()
        self._ends.set()
        self._bound.close()
        for child in self._children.values():
            with suppress(ProcessLookupError):  # only Ctrl-C says "at once" to one that has been told
                child.process.send_signal(signal.SIGINT if again else signal.SIGTERM)

    async def _end_all(self) -> None:
        """Whatever happened, no child outlives its parent."""
        left = [child.process for child in self._children.values() if child.process.returncode is None]
        for process in () if self._ends.is_set() else left:  # told twice, one that drains would drop its calls
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        if left:
            ending = [asyncio.create_task(process.wait()) for process in left]
            _, late = await asyncio.wait(ending, timeout=DRAIN_S)
            for process in left if late else ():
                with suppress(ProcessLookupError):
                    process.kill()
            await asyncio.wait(ending)


def orphaned(parent: int) -> bool:
    """Whether the parent is gone: a child ends then, since nobody would start it again."""
    return os.getppid() != parent


def _first_line(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as lines:
        return lines.readline()


def _why(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"


def program() -> list[str]:
    """How this program is started again."""
    return [sys.executable, "-m", "insource"]
