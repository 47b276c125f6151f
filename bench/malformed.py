"""Malformed outputs under a schema, counted until it means something: python bench/malformed.py DATA_FOLDER [--json].

DATA_FOLDER holds bfcl/ and jsonschemabench/; bench/malformed_sets.py says which schemas come of them. Each generation
has at most 64 tokens, drawn at temperature 1 with its number as seed. Most are by a two-layer model with random weights
under the base's own tokenizer: nothing pushes such a model towards sense, so the mask has everything to do. The legs:

    torch        embedded, random weights               vllm       vLLM, random weights (--vllm PYTHON)
    openvino     embedded, random weights               llamacpp   llama.cpp's server (xllamacpp), random weights
    torch-base   embedded, the base model's weights

llama.cpp's leg is counted apart: under any grammar its server takes bytes that are no UTF-8, and says a mark for each
of them. Such an answer is refused by us as any that breaks its schema; here it counts.

A server gets the schemas it can be held to: vLLM those that its own grammar says whole (`said_whole`), llama.cpp those
that ours does (`decode.gbnf`). They are asked in our dialect, and no second time.
Outputs are read by bench/reader.py, never by our decoder. Malformed is what is no JSON, breaks its schema, or never
came; truncated, which is a failure too, what was cut by the limit. Valid, but counted apart, is an object where a key
stands twice: no grammar remembers free keys, and readers take the last. Shares have one-sided 95% upper bounds
(Clopper and Pearson), overall and per schema.

With --keep FILE every outcome is written down as it comes, and a run with the same file goes on where that one ended;
--minutes ends it early.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

import malformed_servers as servers
import reader
from insource.decode.gbnf import gbnf_of_schema
from insource.decode.mask import Vocabulary
from insource.decode.prompt import messages
from insource.engines.base import Engine
from insource.engines.base_model import BaseModel
from insource.engines.local import LocalModel
from insource.engines.models import resolve
from insource.engines.remote import Remote
from insource.errors import EngineDown, InsourceError
from insource.journeys.lineup import quiet
from insource.nouns import JsonObject, Message, Request, Task
from insource.settings import EngineSettings, cache_folder
from insource.stats import clopper_pearson_upper
from malformed_sets import Named, chosen, said_whole

LIMIT, PATIENCE_S, BATCH = 64, 3600.0, 128
SCHEMAS = {"bfcl": 160, "tasks": 80, "jsonschemabench": 160}
SHARES = {"torch": 0.5, "openvino": 0.26, "vllm": 0.2, "torch-base": 0.04, "llamacpp": 0.1}
BESIDE = ("llamacpp",)  # asked besides, and counted apart
# what a server can be held to: vLLM by its own grammar, llama.cpp where ours says it whole
SERVERS = {"vllm": said_whole, "llamacpp": lambda schema: gbnf_of_schema(schema) is not None}
OUTCOMES = ("valid", "invalid", "truncated", "failed")
INPUT = "Fill in the form."
TWICE = "a key stands twice"
Done = tuple[str, int, str, str]


@asynccontextmanager
async def engine(leg: str, base: LocalModel, work: Path, python: Path | None) -> AsyncIterator[Engine]:
    """The engine of a leg, closed afterwards."""
    with ExitStack() as stack:
        made: Engine
        model = base if leg == "torch-base" else servers.untrained(base, work / leg)
        if leg not in SERVERS:
            model = servers.made_over(model, work / f"{leg}-graph") if leg == "openvino" else model
            made = BaseModel(model, name=leg, batch=BATCH)
        else:
            started = servers.llamacpp(model) if leg == "llamacpp" else servers.vllm(model, Path(python or ""))
            url = stack.enter_context(started)
            said = EngineSettings(kind=leg, base_url=url, model="base", timeout_s=PATIENCE_S, retries=0)
            made = Remote(leg, said, "")
        try:
            yield made
        finally:
            await made.close()


def request(leg: str, number: int, id: str, schema: JsonObject) -> Request:
    """The generation of this number. Embedded, it is a chat, so that schemas share a batch; a server gets a task."""
    task = Task(name=id, kind="extract", schema=schema) if leg in SERVERS else None
    form = None if task else {"type": "json_schema", "json_schema": {"name": "form", "schema": schema}}
    asked = messages(task, INPUT) if task else (Message(role="user", content=INPUT),)
    return Request(id=str(number), task=task, messages=asked, response_format=form, max_tokens=LIMIT, temperature=1.0,
                   seed=number, deadline=PATIENCE_S)  # fmt: skip


async def outcome(made: Engine, schema: JsonObject, asked: Request) -> tuple[str, str]:
    """What became of it: valid, invalid, truncated or failed; and what was said."""
    try:
        said = await made.complete(asked)
    except InsourceError as error:
        return "failed", f"{type(error).__name__}: {error}"
    if said.finish == "length":
        return "truncated", said.text
    fault = reader.fault(schema, said.text) or ("" if said.finish == "stop" else f"it ended as {said.finish}")
    return ("invalid", f"{fault} · {said.text}") if fault else ("valid", TWICE if reader.twice(said.text) else "")


def planned(leg: str, count: int, sets: list[Named]) -> Iterator[tuple[int, int]]:
    """Number and schema of each generation of a leg; those of a schema follow each other, which share a mask."""
    fitting = [i for i, (_, schema) in enumerate(sets) if leg not in SERVERS or SERVERS[leg](schema)]
    for number in range(count):
        yield number, fitting[number * len(fitting) // count]


async def ask(leg: str, made: Engine, todo: list[tuple[int, int]], sets: list[Named]) -> list[Done]:
    """The outcomes of some generations, all asked at once."""
    asked = [request(leg, number, f"s{which}", sets[which][1]) for number, which in todo]
    found = await asyncio.gather(
        *[outcome(made, sets[which][1], one) for one, (_, which) in zip(asked, todo, strict=True)]
    )
    return [(leg, which, what, text[:300]) for (_, which), (what, text) in zip(todo, found, strict=True)]


class Kept:
    """What a run has done so far: its schemas, its plan and every outcome, in a file that the next run reads."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self.head: dict[str, Any] = json.loads(lines[0]) if lines else {}
        self.done: list[Done] = [tuple(json.loads(line)) for line in lines[1:]]
        self._path = path

    def begin(self, head: dict[str, Any]) -> None:
        """Writes what the run is about."""
        self.head = head
        self._path.write_text(json.dumps(head) + "\n", "utf-8")

    def add(self, found: list[Done], file: TextIO) -> None:
        """Writes outcomes down."""
        self.done += found
        file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in found)
        file.flush()

    def open(self) -> TextIO:
        """The file, to be added to."""
        return self._path.open("a", encoding="utf-8")


def begun(given: argparse.Namespace, kept: Kept, base: LocalModel) -> None:
    """Chooses schemas and legs, where no earlier run has."""
    if kept.head:
        return
    start = time.monotonic()
    ends = [json.loads((base.folder / "config.json").read_text("utf-8"))["eos_token_id"]]
    definition = (base.folder / "tokenizer.json").read_text("utf-8")
    size = json.loads((base.folder / "config.json").read_text("utf-8"))["vocab_size"]
    sets = chosen(given.data, Vocabulary(definition, size=size, ends=ends), SCHEMAS)
    legs = {leg: share for leg, share in SHARES.items() if leg in given.legs and (leg != "vllm" or given.vllm)}
    among = sum(share for leg, share in legs.items() if leg not in BESIDE) or 1.0
    plan = {leg: round(given.generations * share / among) for leg, share in legs.items()}
    kept.begin({"schemas": sets, "plan": plan, "minutes": 0.0, "base": given.base, "sha256": base.sha256})
    print(f"{len(sets)} schemas chosen in {time.monotonic() - start:.0f} s", file=sys.stderr)


async def run(given: argparse.Namespace, kept: Kept, work: Path) -> None:
    """Goes through the legs until all is done, or the time is up."""
    base = resolve(given.base, cache_folder(), progress=quiet)
    begun(given, kept, base)
    sets, until = kept.head["schemas"], time.monotonic() + given.minutes * 60
    with kept.open() as file:
        for leg, count in kept.head["plan"].items():
            todo = list(planned(leg, count, sets))[sum(done[0] == leg for done in kept.done) :]
            if not todo or time.monotonic() > until:
                continue
            async with engine(leg, base, work, given.vllm) as made:
                for first in range(0, len(todo), BATCH):
                    if time.monotonic() > until:
                        break
                    found = await ask(leg, made, todo[first : first + BATCH], sets)
                    if all(what == "failed" for _, _, what, _ in found):
                        raise EngineDown(f"{leg} answers nothing at all: {found[0][3]}")
                    kept.add(found, file)
                    bad = sum(done[2] != "valid" for done in kept.done)
                    print(f"{leg}: {len(kept.done):,} in all, {bad} not valid", file=sys.stderr)


def counted(done: list[Done]) -> dict[str, Any]:
    """Outcomes with their bounds."""
    found = {what: sum(one[2] == what for one in done) for what in OUTCOMES}
    n, malformed = len(done), found["invalid"] + found["failed"]
    bounds = {"upper95": clopper_pearson_upper(malformed, n), "truncated_upper95":
              clopper_pearson_upper(found["truncated"], n)} if n else {}  # fmt: skip
    return {"n": n, "malformed": malformed, **found, "key_twice": sum(one[3] == TWICE for one in done), **bounds}


def document(kept: Kept, minutes: float) -> dict[str, Any]:
    """Everything so far."""
    sets: list[Named] = kept.head["schemas"]
    by_schema: dict[int, list[Done]] = {}
    for one in kept.done:
        by_schema.setdefault(one[1], []).append(one)
    each = {sets[which][0]: counted(done) for which, done in sorted(by_schema.items())}
    legs = {
        leg: {
            **counted([one for one in kept.done if one[0] == leg]),
            "weights": "base" if leg == "torch-base" else "random",
            "schemas": len({one[1] for one in kept.done if one[0] == leg}),
        }
        for leg in kept.head["plan"]
    }
    failures = [{"leg": leg, "schema": sets[which][0], "outcome": what, "text": text}
                for leg, which, what, text in kept.done if what != "valid"]  # fmt: skip
    return {
        "base": kept.head["base"],
        "sha256": kept.head["sha256"],
        "max_tokens": LIMIT,
        "validator": reader.VALIDATOR,
        "planned": kept.head["plan"],
        "whole": counted([one for one in kept.done if one[0] not in BESIDE]),
        "legs": legs,
        "schemas": len(each),
        "sources": {name: sum(one.startswith(f"{name}/") for one in each) for name in SCHEMAS},
        "per_schema": {
            "fewest": min(one["n"] for one in each.values()),
            "largest_upper95": max(one["upper95"] for one in each.values()),
            "each": {name: [one["n"], one["malformed"], one["truncated"], round(one["upper95"], 5)]
                     for name, one in each.items()},
        },
        "minutes": round(minutes, 2),
        "failures": failures[:20],
    }  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """The figures in words."""
    whole, each = found["whole"], found["per_schema"]
    print(f"{whole['malformed']} malformed and {whole['truncated']} truncated of {whole['n']:,} over "
          f"{found['schemas']} schemas, read with {found['validator']}")  # fmt: skip
    print(f"  malformed below {whole['upper95']:.4%}, truncated below {whole['truncated_upper95']:.4%} with 95% "
          f"confidence; a free key twice {whole['key_twice']}; {found['minutes']} min")  # fmt: skip
    for leg, one in found["legs"].items():
        if one["n"]:
            print(f"  {leg}, {one['weights']} weights: {one['malformed']} malformed, {one['truncated']} truncated of "
                  f"{one['n']:,} over {one['schemas']} schemas; below {one['upper95']:.4%}")  # fmt: skip
    print(f"  per schema: {each['fewest']} generations or more, malformed below {each['largest_upper95']:.2%} or less")
    for failure in found["failures"]:
        print(f"  {failure['leg']} {failure['schema']} {failure['outcome']}: {failure['text'][:160]}")


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--generations", type=int, default=30_000)
    parser.add_argument("--legs", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--vllm", type=Path, metavar="PYTHON", help="of an environment with vLLM, for its leg")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where outcomes are written down; goes on there")
    parser.add_argument("--minutes", type=float, default=24 * 60)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        kept = Kept(given.keep or Path(work, "outcomes.jsonl"))
        try:
            asyncio.run(run(given, kept, Path(work)))
        except InsourceError as error:
            print(f"{error}\n{error.hint}", file=sys.stderr)
            sys.exit(error.exit_code)
    found = document(kept, (time.monotonic() - start) / 60)
    if given.json:
        json.dump(found, sys.stdout)
    else:
        show(found)


if __name__ == "__main__":
    main()
