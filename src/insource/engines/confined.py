"""Work on what strangers wrote, in a process of its own that the operating system keeps within hard limits.

The parent asks in JSON lines and gets one line for each. The child may compute for so long, hold so much memory, and
open, write and start nothing; it sees none of our environment's secrets. A child that breaks a limit is gone, which is
told as `Stopped`, and the next question starts another.

Run as `python -P -m insource.engines.confined MODULE`. Its `start()` loads all that it will need and gives the function
that answers a question: a JSON value for a JSON value.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from insource.nouns import JsonValue, Noun
from insource.settings import inherited_environment

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
ALONE = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}  # a confined process can start no threads
LARGEST = 16_000_000


class Limits(Noun, frozen=True, kw_only=True):
    """For each question: seconds of computing and of waiting; for the child: bytes of memory."""

    computing_s: float = 1.0
    waiting_s: float = 30.0
    memory: int = 512_000_000


class Stopped(Exception):
    """The child broke a limit, or broke."""


class Confined:
    """A child that runs `module`. One question at a time; started by the first one, ended with this object."""

    def __init__(self, module: str, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self.module, self.limits = module, limits
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, question: JsonValue) -> JsonValue:
        """What the child answers. Raises `Stopped`."""
        with self._lock:
            child = self._running()
            alarm = threading.Timer(self.limits.waiting_s, child.kill)
            alarm.start()
            try:
                line = _exchange(child, json.dumps(question).encode() + b"\n")
            finally:
                alarm.cancel()
            if not line.endswith(b"\n"):
                self.close()
                raise Stopped(self._why(child))
            return json.loads(line)

    def close(self) -> None:
        """Ends the child; the next question starts another."""
        if self._child is not None:
            _end(self._child)
            self._child = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            told = [f"{self.limits.computing_s}", f"{self.limits.memory}"]
            command = [sys.executable, "-P", "-m", "insource.engines.confined", self.module, *told]
            ours = inherited_environment()
            environment = {name: ours[name] for name in PASSED_ON if name in ours} | ALONE
            self._child = subprocess.Popen(  # noqa: S603 - our own module
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
            weakref.finalize(self, _end, self._child)
        return self._child

    def _why(self, child: subprocess.Popen[bytes]) -> str:
        reasons = {
            -signal.SIGPROF: f"it computed for more than {self.limits.computing_s:g} s",
            -signal.SIGKILL: f"it was killed, as after {self.limits.waiting_s:g} s of waiting",
        }
        return reasons.get(child.returncode, f"it ended with {child.returncode}")


def _exchange(child: subprocess.Popen[bytes], line: bytes) -> bytes:
    """One line there and one back; less than a line when the child is gone or says too much."""
    put, get = child.stdin, child.stdout
    if put is None or get is None:
        return b""
    try:
        put.write(line)
        put.flush()
        return get.readline(LARGEST)
    except (BrokenPipeError, ConnectionResetError):
        return b""


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            _shut(pipe)
    child.wait()


def _shut(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return


def serve(answer: Callable[[Any], JsonValue], computing_s: float, memory: int) -> None:
    """The child's side: answers each line of stdin on stdout within the limits, until stdin ends."""
    _confine(memory)
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, computing_s)  # its signal ends the process, whatever it is doing
        said = json.dumps(answer(json.loads(line))).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(said + b"\n")
        sys.stdout.buffer.flush()


def _confine(memory: int) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, most in limits.items():
        allowed = resource.getrlimit(kind)[1]
        least = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        try:
            resource.setrlimit(kind, (least, least))
        except ValueError:
            if kind != resource.RLIMIT_AS:  # macOS has no limit of address space; all the others hold there
                raise


if __name__ == "__main__":
    os.chdir(Path(sys.executable).anchor)  # nothing of the folder we were called in
    serve(importlib.import_module(sys.argv[1]).start(), float(sys.argv[2]), int(sys.argv[3]))
