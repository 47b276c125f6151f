"""Training in several processes, seen from the one that starts them: rows and recipe in, what the first rank made out.

Each rank is told its order in one JSON line on its stdin and speaks in JSON lines on its stdout; only the first has
much to say. Nothing a rank is told or says touches the disk. This process computes nothing itself, so it hears at once
when a rank is gone, and ends the others: between GPUs they would wait for it until their patience is out. The ranks
end themselves when their stdin ends, as it does however this process ends.
"""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Self

import msgspec

from insource.errors import EngineDown, InsourceError, Invalid, Missing, Refused, StoreError
from insource.nouns import JsonObject, Noun, from_json
from insource.settings import inherited_environment
from insource.train.course import Order
from insource.train.loop import Voice

PARTED = 75
GRACE_S = 3.0
WRITES_S = 3600.0  # what the first rank may take to write once another has done its part, and say nothing
LOOPBACKS = ("lo", "lo0")
FAULTS = {kind.__name__: kind for kind in (Invalid, Missing, Refused, EngineDown, StoreError)}


class Fault(Noun, frozen=True, kw_only=True):
    """An error of ours, on its way from a rank to the user."""

    kind: str
    message: str
    hint: str
    at: str

    @classmethod
    def of(cls, error: InsourceError) -> Self:
        """The error as a value."""
        return cls(kind=type(error).__name__, message=str(error), hint=error.hint, at=error.at)

    def error(self) -> InsourceError:
        """The error again."""
        return FAULTS.get(self.kind, InsourceError)(self.message, hint=self.hint, at=self.at)


class Word(Noun, frozen=True, kw_only=True):
    """A line from a rank: one of these."""

    say: str | None = None
    progress: tuple[str, int, int] | None = None
    made: JsonObject | None = None
    fault: Fault | None = None


def told(line: bytes) -> Order:
    """The order that a rank is told."""
    return msgspec.json.decode(line, type=Order, dec_hook=lambda kind, said: kind(said))


def meeting(order: Order) -> Path:
    """The file at which the ranks find each other."""
    return order.folder.parent / "ranks"


def together(order: Order, voice: Voice) -> JsonObject:
    """Trains as `order.recipe.devices` ranks and returns what the first one made.

    Raises what a rank raised where it is an error of ours, and `EngineDown` when one ended otherwise or stays away.
    """
    meeting(order).unlink(missing_ok=True)  # of a run that was killed: whoever meets there would meet the dead
    heard: Queue[tuple[int, Word | int]] = Queue()
    with ExitStack() as stack:
        stack.callback(meeting(order).unlink, missing_ok=True)
        children = [stack.enter_context(_Child(number, heard)) for number in range(order.recipe.devices)]
        for child in children:
            child.tell(msgspec.json.encode(order, enc_hook=str))
        return _made(children, heard, voice)


def _made(children: Sequence["_Child"], heard: Queue[tuple[int, Word | int]], voice: Voice) -> JsonObject:
    """Passes on what is said until the first rank says what was made."""
    done: dict[int, int] = {}
    while True:
        try:
            number, word = heard.get(timeout=WRITES_S if done else None)
        except Empty:
            raise _ended(children, done, heard) from None
        if isinstance(word, int):
            done[number] = word
            if word or not number:  # another rank has done its part while the first still writes
                raise _ended(children, {number: word}, heard)
        elif word.fault:
            raise word.fault.error()
        elif word.made is not None:
            return word.made
        elif word.progress:
            voice.progress(*word.progress)
        else:
            voice.say(word.say or "")


class _Child:
    """Rank `number`, a process of its own; killed when left."""

    def __init__(self, number: int, heard: Queue[tuple[int, Word | int]]) -> None:
        self.number, self._heard, self._errors = number, heard, deque[str](maxlen=20)
        self.process = subprocess.Popen(  # noqa: S603 - our own module
            _command(number),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._listen, self._overhear)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):
            _pipe(self.process.stdin).close()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    def tell(self, line: bytes) -> None:
        """Its order, on a thread of its own: one that stands still would take nothing, and nobody would be heard.

        Whether it is there to take it is heard otherwise.
        """

        def write() -> None:
            with suppress(OSError, ValueError):  # it is gone, and so is its pipe
                _pipe(self.process.stdin).write(line + b"\n")
                _pipe(self.process.stdin).flush()

        threading.Thread(target=write, daemon=True).start()

    @property
    def last_words(self) -> str:
        """The last line of its stderr, in brief, and nothing in it that a terminal would obey."""
        last = next((line.strip() for line in reversed(self._errors) if line.strip()), "")[:300]
        return "".join(letter if letter.isprintable() else " " for letter in last)

    def _listen(self) -> None:
        for line in _pipe(self.process.stdout):
            if not line.endswith(b"\n"):
                continue  # it was killed as it spoke
            try:
                self._heard.put((self.number, from_json(line, Word)))
            except Invalid:  # what printed it is none of ours
                self._errors.append(line.decode("utf-8", "replace"))
        code = self.process.wait()
        self._readers[1].join()
        self._heard.put((self.number, code))

    def _overhear(self) -> None:
        self._errors.extend(line.decode("utf-8", "replace") for line in _pipe(self.process.stderr))


def _command(number: int) -> list[str]:
    return [sys.executable, "-P", "-m", "insource.train.rank", str(number)]


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - Popen was asked for it
    return pipe


def _environment() -> dict[str, str]:
    """Ours, but that the ranks speak to each other over the loopback alone: they ask nobody who is there."""
    inside = {name for _, name in socket.if_nameindex()}
    loopback = next((name for name in LOOPBACKS if name in inside), None)
    named = {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback} if loopback else {}
    return inherited_environment() | named


def _ended(children: Sequence[_Child], gone: dict[int, int], heard: Queue[tuple[int, Word | int]]) -> InsourceError:
    """Why the training ended: what the first to fail said, not those who then missed it."""
    until = time.monotonic() + GRACE_S
    while len(gone) < len(children) and (left := until - time.monotonic()) > 0:
        with suppress(Empty):
            number, word = heard.get(timeout=left)
            if isinstance(word, int):
                gone[number] = word
            elif word.fault:
                return word.fault.error()
    failed = [number for number, code in gone.items() if code != PARTED and (code or not number)]
    silent = [child.number for child in children if child.number not in gone]
    if failed:
        child = children[failed[0]]
        said = f": {child.last_words}" if child.last_words else ""
        why = f"rank {child.number} {_how(gone[child.number])}{said}"
    elif silent:
        why = f"rank {silent[0]} does not answer"
    else:
        why = f"its ranks lost each other: {children[next(iter(gone))].last_words}"
    hint = "the same command goes on from the last checkpoint"
    return EngineDown(f"training over {len(children)} devices ended: {why}", hint=hint)


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
