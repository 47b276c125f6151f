"""One specialist on every engine, the same test rows: python bench/engines.py DATA_FOLDER [--set NAME] [--json].

DATA_FOLDER and --set are those of bench/classify.py, which trains the specialist where a kept workspace holds none.
`insource release export` makes it over; each form reads all test rows in a process of its own, after a warm-up, with
64 of them waiting, as `insource models bench` has it. Labels are compared row by row with torch. The quickest form
that passes its gate is promoted and asked again through `insource serve` over HTTP by 64 callers.

Peers, where they are given: llama.cpp's server (--gguf FILE; from xllamacpp) and vLLM (--vllm PYTHON of a virtual
environment that has it) answer the same rows with the labels as a JSON Schema enum, respectively as `choice`. They
serve the untuned base model: the work is the same, the labels are not, so only their speed counts.
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx

from classify import SETS, insource, prepare, trained
from insource.journeys.convert import FORMS
from insource.journeys.forms import read
from insource.settings import inherited_environment, load_settings, load_task
from insource.stats import clopper_pearson_lower, wilson

CALLERS = 64
READY_S = 300
Timed = tuple[list[Any], float]


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns, run in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def called(url: str, body: Callable[[str], dict[str, Any]], texts: list[str]) -> Timed:
    """What the server at `url` says to each text, `CALLERS` asking at a time, and the seconds it took."""
    with httpx.Client(timeout=600, limits=httpx.Limits(max_connections=CALLERS)) as client:

        def one(text: str) -> str:
            answer = client.post(f"{url}/v1/chat/completions", json=body(text))
            answer.raise_for_status()
            return str(answer.json()["choices"][0]["message"]["content"])

        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(one, texts[:CALLERS]))
            start = time.perf_counter()
            return list(callers.map(one, texts)), time.perf_counter() - start


def gateway(workspace: Path, texts: list[str]) -> Timed:
    """Through `insource serve`."""
    command = [sys.executable, "-m", "insource", "-C", str(workspace), "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            lines = iter(server.stderr or ())
            url = next(found[0] for line in lines if (found := re.search(r"http://[\d.]+:\d+", line)))
            return called(url, lambda text: {"model": "bench", "messages": [{"role": "user", "content": text}]}, texts)
        finally:
            server.terminate()


def llamacpp(gguf: str, texts: list[str], labels: list[str]) -> float:
    """Seconds that llama.cpp's server takes, in this process."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.n_parallel, params.n_ctx = 8, 8 * 512
    params.cpuparams.n_threads = os.cpu_count()
    server = xllamacpp.Server(params)
    schema = {"type": "object", "properties": {"label": {"enum": labels}}, "required": ["label"]}
    form = {"type": "json_schema", "json_schema": {"name": "label", "schema": schema}}
    return called(server.listening_address, lambda text: prompt(text) | {"response_format": form}, texts)[1]


def vllm(python: str, model: str, texts: list[str], labels: list[str]) -> float:
    """Seconds that vLLM takes, started from the virtual environment whose python this is."""
    port = 8765
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--port", str(port),
               "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "2048"]  # fmt: skip
    environment = inherited_environment() | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/health", server)
            more = {"model": model, "structured_outputs": {"choice": labels}}
            return called(url, lambda text: prompt(text) | more, texts)[1]
        finally:
            server.terminate()


def wait_for(url: str, server: subprocess.Popen[Any]) -> None:
    """Returns when the server is ready."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(1)
    sys.exit(f"{url} was not ready within {READY_S} s")


def prompt(text: str) -> dict[str, Any]:
    """A greedy call that asks for the label."""
    said = f"Choose the label of the text.\n{text}\nlabel:"
    return {"messages": [{"role": "user", "content": said}], "temperature": 0, "max_tokens": 64}


def shown(name: str, rows: int, seconds: float, base: float) -> dict[str, Any]:
    """One line of the table: speed, and how often it is torch's."""
    return {"engine": name, "rows": rows, "rows_per_s": rows / seconds, "against_torch": rows / seconds / base}


def compared(line: dict[str, Any], said: list[str], torch: list[str], truth: list[str]) -> dict[str, Any]:
    """The line with accuracy and agreement, each with its interval."""
    count = len(truth)
    right = sum(a == b for a, b in zip(said, truth, strict=True))
    same = sum(a == b for a, b in zip(said, torch, strict=True))
    line["accuracy"] = dict(zip(("low", "high"), wilson(right, count), strict=True)) | {"value": right / count}
    line["agreement"] = {"same": same, "n": count, "value": same / count,
                         "low": clopper_pearson_lower(same, count)}  # fmt: skip
    gained = [(a == t) - (b == t) for a, b, t in zip(said, torch, truth, strict=True)]
    line["won"], line["lost"] = gained.count(1), gained.count(-1)
    return line


def forms(workspace: Path, wanted: list[str]) -> dict[str, str]:
    """Form → release that is in it; made where the workspace has none."""
    made = {"torch": "bench@1.0.0"}
    have = {
        r["changelog"]: f"bench@{r['version']}" for r in insource(workspace, "release", "list", "bench")["releases"]
    }
    for form in wanted:
        known = next((name for said, name in have.items() if f" as {form}:" in said), "")
        if not known:
            words = ("release", "export", "bench@1.0.0", "--format", form, "--rows", "20")
            released = insource(workspace, *words)["release"]
            known = f"bench@{released['version']}"
        made[form] = known
    return made


def promoted(workspace: Path, line: dict[str, Any]) -> bool:
    """Whether this form passed its gate; it is then live."""
    passed = line["passed"] = bool(insource(workspace, "release", "gate", line["release"], may_refuse=True)["passed"])
    if passed:
        insource(workspace, "release", "promote", line["release"])
    return passed


def run(given: argparse.Namespace, workspace: Path) -> dict[str, Any]:
    """Every engine in turn, as one document."""
    train, test, kind = SETS[given.set](given.data)
    prepare(workspace, train, test, kind)
    trained(given, workspace)
    task, state = load_task(load_settings(workspace), "bench"), load_settings(workspace).state
    texts, truth = [text for text, _ in test], [label for _, label in test]
    names = forms(workspace, given.forms.split(",") if given.forms else [])
    lines: list[dict[str, Any]] = []
    torch: list[str] = []
    base = 0.0
    for form, name in names.items():
        folder = state / "releases" / "bench" / name.partition("@")[2]
        said, p50, rate, memory = alone(read, folder, task, texts, 0)
        torch, base = (said, rate) if form == "torch" else (torch, base)
        size = sum(path.stat().st_size for path in (folder / "model").iterdir()) / 1e6
        line = shown(form, len(texts), len(texts) / rate, base)
        line |= {"release": name, "p50_ms": p50, "memory_mb": memory, "disk_mb": size}
        lines.append(compared(line, said, torch, truth))
        print(f"{form}: {line['rows_per_s']:.1f} rows/s", file=sys.stderr)
    best = next(line for line in sorted(lines, key=lambda line: -line["rows_per_s"]) if promoted(workspace, line))
    said, took = gateway(workspace, texts)
    line = shown(f"gateway, {best['engine']}, {CALLERS} callers", len(texts), took, base)
    lines.append(compared(line, said, torch, truth))
    few, labels = texts[: given.peer_rows], sorted(set(truth))
    if given.gguf:
        took = alone(llamacpp, str(given.gguf), few, labels)
        lines.append(shown(f"llama.cpp server, {given.gguf.name}", len(few), took, base))
    if given.vllm:
        took = vllm(given.vllm, str(given.model), few, labels)
        lines.append(shown("vLLM, choice", len(few), took, base))
    return {"bench": "engines", "set": given.set, "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "best": best["engine"], "engines": lines}  # fmt: skip


def show(document: dict[str, Any]) -> None:
    """A table for people."""
    print(f"{document['set']} on {document['machine']}; the quickest of ours: {document['best']}")
    for line in document["engines"]:
        words = f"  {line['engine']:40} {line['rows_per_s']:7.1f} rows/s, {line['against_torch']:5.2f} of torch"
        if "accuracy" in line:
            accuracy, agreement = line["accuracy"], line["agreement"]
            words += (f", accuracy {accuracy['value']:.2%} ({accuracy['low']:.2%} to {accuracy['high']:.2%}), "
                      f"agrees {agreement['value']:.2%} (≥ {agreement['low']:.2%})")  # fmt: skip
        print(words)


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=SETS, default="csv")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--forms", default=",".join(FORMS), help="of `release export --format`, with commas")
    parser.add_argument("--gguf", type=Path, help="the base model for llama.cpp's server")
    parser.add_argument("--vllm", metavar="PYTHON", help="the python of a virtual environment with vLLM")
    parser.add_argument("--model", type=Path, help="the base model's folder, for vLLM")
    parser.add_argument("--peer-rows", type=int, default=300, help="test rows for the peers")
    parser.add_argument("--keep", type=Path, help="the workspace; a specialist in it is taken as it is")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.keep:
        document = run(given, given.keep)
    else:
        with tempfile.TemporaryDirectory() as folder:
            document = run(given, Path(folder) / "workspace")
    if given.json:
        json.dump(document, sys.stdout)
    else:
        show(document)


if __name__ == "__main__":
    main()
