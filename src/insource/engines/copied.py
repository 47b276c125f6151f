"""A copied release, asked as its users will: the text alone, over HTTP, of the server the copy was made for.

The server runs in a process group of its own, so that what it takes of memory is its own too.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgspec

from insource.decode.check import parse, schema_of
from insource.engines.copy_server import MODEL
from insource.engines.outward import to_itself
from insource.engines.outward_aiohttp import session
from insource.engines.readout import has_avx512, pick_device
from insource.engines.remote import Remote
from insource.errors import EngineDown, OutputInvalid
from insource.nouns import JsonObject, Message, Noun, Prediction, Request, Task
from insource.settings import EngineSettings, inherited_environment

READY_S = 600.0


class Reader(Noun, frozen=True, kw_only=True):
    """Who reads a copy: a server of `engines.copy_server`, the dialect it speaks, the package it needs and a hint."""

    server: str
    kind: Literal["openai", "llamacpp", "vllm"]
    needs: str
    hint: str


READERS = {
    "hf": Reader(server="transformers", kind="openai", needs="transformers", hint="pip install 'insource[train]'"),
    "gguf": Reader(server="llamacpp", kind="llamacpp", needs="xllamacpp", hint="pip install xllamacpp"),
    "gptq": Reader(
        server="vllm", kind="vllm", needs="", hint="name the Python that has vLLM in insource.toml: vllm of [workspace]"
    ),
}


NO_4_BITS = (
    "vLLM multiplies 4 bits on a CPU with AVX-512, which this one does not have: measure the copy where it will serve"
)


def reader_of(form: str, python: str) -> Reader | str:
    """Who reads the copy `form` here; else what to do so that somebody can. `python` is an interpreter with vLLM."""
    found = READERS[form.partition("-")[0]]
    there = find_spec(found.needs) is not None if found.needs else bool(python)
    if there and form == "gptq" and pick_device() == "cpu" and not has_avx512():
        return NO_4_BITS
    return found if there else found.hint


class Copied:
    """The engine `name`: the copy in `folder` behind its server, for `task`. Open it with `start`."""

    def __init__(self, name: str, folder: Path, reader: Reader, task: Task) -> None:
        self.name, self.folder, self.reader, self.task = name, folder, reader, task
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the server
        self._server: subprocess.Popen[bytes] | None = None
        self._remote: Remote | None = None

    async def start(self, threads: int, python: str = "") -> None:
        """Starts the server and waits until it is well. Raises `EngineDown` with its last words when it is not."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [self.reader.server, str(self.folder.resolve()), str(port), str(threads), *([python] if python else [])]
        self._server = await asyncio.to_thread(self._launched, words)
        address = f"http://127.0.0.1:{port}"
        await self._well(f"{address}/health", self._server)
        settings = EngineSettings(kind=self.reader.kind, base_url=f"{address}/v1", model=MODEL)
        self._remote = Remote(self.name, settings, "", to_itself(f"copy {self.name}"))

    async def complete(self, request: Request) -> Prediction:
        """What the server says to the text, taken as the task's answer; finish "invalid" where it is none."""
        if self._remote is None:
            raise EngineDown(f"{self.name} is closed")
        asked = msgspec.structs.replace(
            request,
            task=None,
            messages=(Message(role="user", content=request.input),),
            max_tokens=len(self.task.outputs),
            response_format=self._format(),
        )
        said = await self._remote.complete(asked)
        try:
            return msgspec.structs.replace(said, value=parse(self.task, said.text), finish="stop")
        except OutputInvalid:
            return msgspec.structs.replace(said, value=None, finish="invalid")

    def memory_mb(self) -> float | None:
        """The most memory that the server's processes held, added up, in 2**20 bytes; None where it cannot be told."""
        group = self._server.pid if self._server else 0
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                peak = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text("utf-8", "replace"), re.MULTILINE)
                if peak and os.getpgid(int(status.parent.name)) == group:
                    found.append(int(peak[1]) / 2**10)
            except OSError:
                continue  # it has ended meanwhile
        return sum(found) if found else None

    async def close(self) -> None:
        """Ends the server."""
        if self._remote:
            await self._remote.close()
        await asyncio.to_thread(self._end)
        self._remote = self._server = None

    def _format(self) -> JsonObject | None:
        """Of one output the likeliest token is a label; of several the order is the schema's to keep."""
        if len(self.task.outputs) == 1:
            return None
        form: JsonObject = {"name": self.task.name, "schema": schema_of(self.task)}
        return {"type": "json_schema", "json_schema": form}

    async def _well(self, url: str, server: "subprocess.Popen[bytes]") -> None:
        timeout = aiohttp.ClientTimeout(total=5)
        way = to_itself(f"copy {self.name}")
        async with asyncio.timeout(READY_S), session(way, url, timeout=timeout) as opened:
            while server.poll() is None:
                try:
                    async with opened.get(url, allow_redirects=False) as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(0.2)
        raise EngineDown(f"the server of {self.name} ended: {self._last_words()}", hint=self.reader.hint)

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _launched(self, words: list[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "insource.engines.copy_server", *words],
            stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, start_new_session=True,
            env=inherited_environment(),
        )  # fmt: skip

    def _end(self) -> None:
        server: Any = self._server
        if server is None:
            return
        server.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            server.wait(25)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # what it started and left behind
        server.wait()
