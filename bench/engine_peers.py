"""Other people's servers, asked by many callers at once: llama.cpp's (from xllamacpp) and vLLM's.

They answer either as they are held to labels, or, with a copy of a specialist, to nothing but the text: what they
then say is the label.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2 as httpx

from insource.settings import inherited_environment

CALLERS = 64
READY_S = 900
Timed = tuple[list[Any], float]
Body = dict[str, Any]


def called(url: str, body: Callable[[str], Body], texts: list[str]) -> Timed:
    """What the server at `url` says to each text, `CALLERS` asking at a time, and the seconds it took.

    The client is the standard library's, a connection a caller: it computes on the cores that it times.
    """
    lines = threading.local()

    def one(text: str) -> str:
        if not hasattr(lines, "kept"):
            lines.kept = HTTPConnection(url.removeprefix("http://"), timeout=600)
        head = {"Content-Type": "application/json"}
        wanted = ("POST", "/v1/chat/completions", json.dumps(body(text)).encode(), head)
        try:
            lines.kept.request(*wanted)
            answer = lines.kept.getresponse()
        except ConnectionError:  # a server closes lines that were idle while the slowest of the warm-up was answered
            lines.kept.close()
            lines.kept.request(*wanted)
            answer = lines.kept.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {said[:200]!r}")
        return str(json.loads(said)["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(one, texts[:CALLERS]))
        start = time.perf_counter()
        return list(callers.map(one, texts)), time.perf_counter() - start


def llamacpp(gguf: str, texts: list[str], held: Body | None) -> Timed:
    """What llama.cpp's server says, in this process: `held` to labels, else to what a copy says by itself."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.n_parallel, params.n_ctx = 8, 8 * 512
    params.cpuparams.n_threads = os.cpu_count()
    params.verbosity = -1
    server = xllamacpp.Server(params)
    return called(server.listening_address, _asked(held), texts)


def vllm(python: str, model: str, texts: list[str], held: Body | None) -> Timed:
    """What vLLM says, started from the virtual environment whose python this is."""
    port = 8765
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--port", str(port),
               "--served-model-name", "bench", "--dtype", "bfloat16", "--enforce-eager",
               "--max-model-len", "2048"]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    environment = inherited_environment() | {"VLLM_CPU_KVCACHE_SPACE": "1"} | offline
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/health", server)
            return called(url, _asked(held), texts)
        finally:
            server.terminate()


def message(text: str) -> Body:
    """The text as the only message of a call."""
    return {"messages": [{"role": "user", "content": text}]}


def enum(labels: list[str]) -> Body:
    """How llama.cpp is held to the labels."""
    schema = {"type": "object", "properties": {"label": {"enum": labels}}, "required": ["label"]}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "label", "schema": schema}}}


def choice(labels: list[str]) -> Body:
    """How vLLM is held to the labels."""
    return {"structured_outputs": {"choice": labels}}


def _asked(held: Body | None) -> Callable[[str], Body]:
    """A greedy call: for a label of those it is `held` to, or with the text alone for what a copy says."""
    call: Body = {"model": "bench", "temperature": 0, "max_tokens": 64 if held else 1} | (held or {})
    before, after = ("Choose the label of the text.\n", "\nlabel:") if held else ("", "")
    return lambda text: call | message(f"{before}{text}{after}")


def wait_for(url: str, server: subprocess.Popen[Any], log: Path | None = None) -> None:
    """Returns when the server is ready; ends the program, with its last words where it has a log, when it never is."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(1)
    said = f":\n{log.read_text('utf-8', 'replace')[-2_000:]}" if log else ""
    sys.exit(f"{url} was not ready within {READY_S} s{said}")
