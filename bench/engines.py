"""One specialist on every engine, the same test rows: python bench/engines.py DATA_FOLDER [--set NAME] [--json].

DATA_FOLDER and --set are those of bench/classify.py, which trains the specialist where a kept workspace holds none.
`insource release export` makes it over; each form reads all test rows in a process of its own, after a warm-up, with
64 of them waiting, as `insource models bench` has it. Labels are compared row by row with torch. The quickest form
that passes its gate is promoted and asked again through `insource serve` over HTTP by 64 callers.

Copies of it are asked in other people's servers, with the text alone: the GGUF in llama.cpp's (from xllamacpp) and,
with --vllm PYTHON of a virtual environment that has it, the Hugging Face folder in vLLM's. What they say is the label.

Peers, where they are given: llama.cpp's server (--gguf FILE) and vLLM (--model FOLDER) answer the same rows with the
labels as a JSON Schema enum, respectively as `choice`. They serve the untuned base model: the work is the same, the
labels are not, so only their speed counts.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine_peers
from classify import SETS, insource, prepare, trained
from insource.journeys.convert import FORMS
from insource.journeys.forms import read
from insource.settings import load_settings, load_task
from insource.stats import clopper_pearson_lower, paired_proportions, wilson

HF = "hf"


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns, run in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def gateway(workspace: Path, texts: list[str]) -> engine_peers.Timed:
    """Through `insource serve`."""
    command = [sys.executable, "-m", "insource", "-C", str(workspace), "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            lines = iter(server.stderr or ())
            url = next(found[0] for line in lines if (found := re.search(r"http://[\d.]+:\d+", line)))
            call = {"model": "bench"}
            return engine_peers.called(url, lambda text: call | engine_peers.message(text), texts)
        finally:
            server.terminate()


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
    paired = paired_proportions(line["won"], line["lost"], count)
    line["difference"] = {"value": paired.value, "low": paired.low, "high": paired.high, "p": paired.p}
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
    stages = {f"bench@{r['version']}": r["stage"] for r in insource(workspace, "release", "list", "bench")["releases"]}
    if passed and stages[line["release"]] != "live":
        insource(workspace, "release", "promote", line["release"])
    return passed


def copies(given: argparse.Namespace, workspace: Path, texts: list[str]) -> Iterator[tuple[str, list[str], float]]:
    """What each copy of the specialist says in its server: name, answers, seconds."""
    forms = [form for form in given.copies.split(",") if form and (form != HF or given.vllm)]
    for form in forms:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "copy"
            words = ("release", "export", "bench@1.0.0", "--format", form, "--out", str(out), "--rows", "20")
            insource(workspace, *words)
            if form == HF:
                said, took = engine_peers.vllm(given.vllm, str(out), texts, None)
            else:
                [gguf] = out.glob("*.gguf")
                said, took = alone(engine_peers.llamacpp, str(gguf), texts, None)
        where = "vLLM" if form == HF else "llama.cpp server"
        print(f"copy {form} in {where}: {len(texts) / took:.1f} rows/s", file=sys.stderr)
        yield f"copy {form} in {where}", said, took


def peers(given: argparse.Namespace, texts: list[str], labels: list[str], base: float) -> list[dict[str, Any]]:
    """The untuned model in other people's servers, held to the labels: how quick that is."""
    lines = []
    if given.gguf:
        _, took = alone(engine_peers.llamacpp, str(given.gguf), texts, engine_peers.enum(labels))
        lines.append(shown(f"llama.cpp server, {given.gguf.name}", len(texts), took, base))
    if given.vllm and given.model:
        _, took = engine_peers.vllm(given.vllm, str(given.model), texts, engine_peers.choice(labels))
        lines.append(shown("vLLM, choice", len(texts), took, base))
    return lines


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
    line = shown(f"gateway, {best['engine']}, {engine_peers.CALLERS} callers", len(texts), took, base)
    lines.append(compared(line, said, torch, truth))
    few = given.peer_rows
    for name, said, took in copies(given, workspace, texts[:few]):
        lines.append(compared(shown(name, len(said), took, base), said, torch[:few], truth[:few]))
    lines += peers(given, texts[:few], sorted(set(truth)), base)
    return {"bench": "engines", "set": given.set, "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "best": best["engine"], "engines": lines}  # fmt: skip


def points(difference: dict[str, float]) -> str:
    """A paired difference of shares, in points with its interval."""
    value, low, high = (difference[key] * 100 for key in ("value", "low", "high"))
    return f"{value:+.2f} points ({low:+.2f} to {high:+.2f})"


def show(document: dict[str, Any]) -> None:
    """A table for people."""
    print(f"{document['set']} on {document['machine']}; the quickest of ours: {document['best']}")
    for line in document["engines"]:
        words = f"  {line['engine']:40} {line['rows_per_s']:7.1f} rows/s, {line['against_torch']:5.2f} of torch"
        if "accuracy" in line:
            accuracy, agreement = line["accuracy"], line["agreement"]
            words += (f", accuracy {accuracy['value']:.2%} ({accuracy['low']:.2%} to {accuracy['high']:.2%}), "
                      f"agrees {agreement['value']:.2%} (≥ {agreement['low']:.2%}, n {agreement['n']:,}), "
                      f"against torch {points(line['difference'])}")  # fmt: skip
        print(words)


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=SETS, default="csv")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--forms", default=",".join(FORMS), help="of `release export --format`, with commas")
    parser.add_argument("--copies", default=f"gguf-q8_0,{HF}", help="forms of `release export` to ask in servers")
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
