"""Malformed outputs of an untuned model under its schema: python bench/format.py DATA_FOLDER [--json].

DATA_FOLDER/bfcl holds BFCL's simple calls: each function's parameters are a schema, each question an input. Every
fourth generation is the demo's own answer (three closed sets as one JSON object) for a made-up report. The first
round of each is greedy, later rounds are drawn at temperature 1 with the generation's number as seed.

Every output is read again here, by the standard library and the schema as published. Malformed is what is no JSON,
breaks its schema, was cut by length, or never came; the share has a one-sided 95% upper bound (Clopper and Pearson).
Answers with confidence 0 are counted apart: closed at a bound of ours, or too long for a probability above 0.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from bfcl import json_schema, questions
from insource.decode.check import faults, schema_of
from insource.decode.prompt import messages
from insource.engines.base_model import BaseModel
from insource.engines.models import resolve
from insource.errors import InsourceError
from insource.journeys.demo_reports import FIELDS, defect_reports, labels
from insource.journeys.lineup import quiet
from insource.nouns import JsonObject, Output, Request, Task
from insource.settings import cache_folder
from insource.stats import clopper_pearson_upper

OUTCOMES = ("valid", "invalid", "truncated", "failed")
Case = tuple[str, JsonObject, Request]


def bfcl(folder: Path) -> list[tuple[Task, str]]:
    """(task, question) of every simple call."""
    found = []
    for row in questions(folder, "simple"):
        function = row["function"][0]
        said = f"Give the arguments of the function {function['name']}: {function['description']}"
        task = Task(name="call", kind="extract", instruction=said, schema=json_schema(function["parameters"]))
        found.append((task, row["question"][0][-1]["content"]))
    return found


def demo(count: int) -> list[tuple[Task, str]]:
    """(task, report) of the demo, its answer as one JSON object."""
    closed = tuple(Output(name=field, labels=tuple(labels(field))) for field in FIELDS)
    schema = schema_of(Task(name="defects", kind="classify", outputs=closed))
    task = Task(
        name="defects", kind="extract", instruction="File the defect report from the shop floor.", schema=schema
    )
    return [(task, report.report) for report in defect_reports(count, seed=1)]


def cases(folder: Path, count: int, max_tokens: int | None) -> list[Case]:
    """`count` generations: set, schema and request."""
    own, calls = demo(-(-count // 4)), bfcl(folder)
    made: list[Case] = []
    for i in range(count):
        name, rows, number = ("demo", own, i // 4) if i % 4 == 3 else ("bfcl", calls, i - i // 4)
        task, text = rows[number % len(rows)]
        schema = schema_of(task)
        form = {"type": "json_schema", "json_schema": {"name": task.name, "schema": schema}}
        request = Request(
            id=str(i),
            messages=messages(task, text),
            response_format=form,
            max_tokens=max_tokens,
            temperature=1.0 if number >= len(calls) else 0.0,
            seed=i,
            deadline=3600.0,
        )
        made.append((name, schema, request))
    return made


async def outcome(engine: BaseModel, schema: JsonObject, request: Request) -> tuple[str, str, bool]:
    """What became of it: valid, invalid, truncated or failed; what was said; whether its confidence is 0."""
    try:
        said = await engine.complete(request)
    except InsourceError as error:
        return "failed", str(error), False
    if said.finish == "length":
        return "truncated", said.text, True
    try:
        value = json.loads(said.text)
    except ValueError:
        return "invalid", said.text, False
    valid = said.finish == "stop" and not faults(schema, value)
    return "valid" if valid else "invalid", said.text, said.confidence == 0.0


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """All generations, a batch at a time, and their count."""
    work = cases(given.data, given.generations, given.max_tokens)
    local = resolve(given.base, cache_folder(), progress=quiet)
    engine = BaseModel(local, name=given.base, batch=given.batch)
    found = {name: dict.fromkeys(OUTCOMES, 0) for name in ("bfcl", "demo")}
    failures: list[dict[str, str]] = []
    doubts = 0
    start = told = time.monotonic()
    try:
        for first in range(0, len(work), given.batch):
            batch = work[first : first + given.batch]
            results = await asyncio.gather(*[outcome(engine, schema, request) for _, schema, request in batch])
            for (name, _, request), (what, text, doubted) in zip(batch, results, strict=True):
                found[name][what] += 1
                doubts += doubted
                if what != "valid":
                    failures.append({"id": request.id, "set": name, "outcome": what, "text": text[:400]})
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"{first + len(batch)} of {len(work)}, {len(failures)} malformed", file=sys.stderr)
    finally:
        await engine.close()
    totals = {what: sum(counts[what] for counts in found.values()) for what in OUTCOMES}
    malformed = len(work) - totals["valid"]
    return {
        "base": given.base,
        "sha256": local.sha256,
        "generations": len(work),
        "malformed": malformed,
        "upper95": clopper_pearson_upper(malformed, len(work)),
        **totals,
        "confidence_0": doubts,
        "sets": found,
        "max_tokens": given.max_tokens,
        "minutes": round((time.monotonic() - start) / 60, 2),
        "failures": failures[:20],
    }


def show(document: dict[str, Any]) -> None:
    """The figures in words."""
    print(f"{document['malformed']} malformed of {document['generations']:,}; the rate is below "
          f"{document['upper95']:.3%} with 95% confidence")  # fmt: skip
    print(f"  breaks the schema {document['invalid']}, cut by length {document['truncated']}, "
          f"no answer {document['failed']}; {document['minutes']} min, {document['base']}")  # fmt: skip
    print(f"  confidence 0: {document['confidence_0']}")
    for name, counts in document["sets"].items():
        print(f"  {name}: {counts['valid']:,} valid of {sum(counts.values()):,}")
    for failure in document["failures"]:
        print(f"  {failure['set']} {failure['id']} {failure['outcome']}: {failure['text'][:160]}")


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--max-tokens", type=int, help="of a call; left out, the engine's own limit")
    parser.add_argument("--batch", type=int, default=128, help="how many are written together")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        document = asyncio.run(run(given))
    except InsourceError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    if given.json:
        json.dump(document, sys.stdout)
    else:
        show(document)


if __name__ == "__main__":
    main()
