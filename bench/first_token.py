"""How soon the first token comes: python bench/first_token.py TEXT_FILE [--base MODEL,…] [--gguf FILE] [--json].

A prompt has about 300 tokens, of which the first 200 are the task's own instruction, the same in every call; the other
100 are new each time, both made of short words of TEXT_FILE. One call at a time, one token asked for: the embedded
engine with each base, and llama.cpp's server over HTTP beside it where its file is given (xllamacpp). Half the calls
go to one after the other, then the other half.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import re
import sys
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import msgspec

from insource.decode.prompt import messages
from insource.engines.base_model import BaseModel
from insource.engines.models import resolve
from insource.journeys.lineup import quiet
from insource.nouns import Task, ask
from insource.settings import cache_folder

INSTRUCTION, TEXT = 165, 82
WARM_UP = 5
LLAMACPP = "llama.cpp server"


def prompts(file: Path, count: int) -> tuple[Task, list[str]]:
    """A task with a long instruction, and the text of each call; a short word is a token of most vocabularies."""
    words = sorted(set(re.findall(r"\b[a-z]{2,5}\b", file.read_text("utf-8").lower())))
    draw = random.Random(0)  # noqa: S311 - words, not secrets
    task = Task(name="long", kind="generate", instruction=" ".join(draw.choices(words, k=INSTRUCTION)))
    return task, [" ".join(draw.choices(words, k=TEXT)) for _ in range(count)]


async def embedded(engine: BaseModel, task: Task, texts: list[str]) -> tuple[list[float], int]:
    """Milliseconds of each call, and the tokens of the last prompt."""
    took, tokens = [], 0
    for number, text in enumerate(texts):
        request = msgspec.structs.replace(ask(task, text, id=str(number)), max_tokens=1)
        start = time.perf_counter()
        answer = await engine.complete(request)
        took.append((time.perf_counter() - start) * 1000)
        tokens = answer.usage.input_tokens
    return took, tokens


def served(url: str, task: Task, texts: list[str]) -> list[float]:
    """Milliseconds of each call to a server, in the same words."""
    took = []
    with httpx.Client(timeout=60) as client:
        for text in texts:
            said = [{"role": turn.role, "content": turn.content} for turn in messages(task, text)]
            start = time.perf_counter()
            answer = client.post(f"{url}/v1/chat/completions", json={"messages": said, "max_tokens": 1})
            answer.raise_for_status()
            took.append((time.perf_counter() - start) * 1000)
    return took


def llamacpp(gguf: Path) -> Any:
    """llama.cpp's server, in this process."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_parallel, params.n_ctx = 1, 2048
    params.cpuparams.n_threads = os.cpu_count()
    return xllamacpp.Server(params)


def figures(took: list[float]) -> dict[str, float]:
    """Median and 95th percentile, the latter the next greater of the measured."""
    ordered = sorted(took)
    return {
        "n": len(ordered),
        "p50_ms": ordered[len(ordered) // 2],
        "p95_ms": ordered[-(-len(ordered) * 95 // 100) - 1],
    }


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """All in turns."""
    bases = given.base.split(",")
    engines = {
        base: BaseModel(resolve(base, cache_folder(), progress=quiet), name=base, threads=os.cpu_count() or 1)
        for base in bases
    }
    server = llamacpp(given.gguf) if given.gguf else None
    took: dict[str, list[float]] = {base: [] for base in bases} | ({LLAMACPP: []} if server else {})
    tokens = 0
    task, texts = prompts(given.data, given.calls + WARM_UP)
    half = WARM_UP + (given.calls + 1) // 2
    try:
        for part in (texts[:WARM_UP], texts[WARM_UP:half], texts[half:]):
            for base, engine in engines.items():
                found, tokens = await embedded(engine, task, part)
                took[base] += found
            if server:
                took[LLAMACPP] += served(server.listening_address, task, part)
    finally:
        for engine in engines.values():
            await engine.close()
    shown = {name: figures(each[WARM_UP:]) for name, each in took.items()}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    document = {"bench": "first_token", "prompt_tokens": tokens, "machine": machine, "engines": shown}
    return document | ({"gguf": given.gguf.name} if server else {})


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a text file")
    parser.add_argument("--base", default="smollm2-135m,openvino:smollm2-135m", help="models, with commas")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    document = asyncio.run(run(given))
    if given.json:
        json.dump(document, sys.stdout)
        return
    print(f"{document['prompt_tokens']} tokens, {document['machine']}")
    for name, each in document["engines"].items():
        print(f"  {name}: p50 {each['p50_ms']:.0f} ms, p95 {each['p95_ms']:.0f} ms, n {each['n']}")


if __name__ == "__main__":
    main()
