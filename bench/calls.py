"""Function calls of an untuned model through the gateway: python bench/calls.py DATA_FOLDER [--json].

DATA_FOLDER/bfcl holds BFCL's questions: simple ones offer one function, multiple ones two to four. `insource serve`
runs in a process of its own on a workspace whose only engine is the base model; OpenAI's client sends each question
with its functions as `tools` at temperature 0, and `tool_choice` as --choice says.

Undecodable is a call that did not come, has a name that was not offered, arguments that are no JSON or break that
function's schema, or was cut at a limit; the share has a one-sided 95% upper bound (Clopper and Pearson). Everything is
read by bench/reader.py. Calls with confidence 0 are decodable and counted apart: a bound of ours ended them, or they
were too long for a probability above 0. Beside it stands how often the right function was called (Wilson's interval).
With --keep FILE outcomes are written down as they come, and a run with the same file goes on where that one ended.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai

import bfcl
import reader
from insource.engines.models import resolve
from insource.errors import InsourceError
from insource.journeys.lineup import quiet
from insource.settings import cache_folder
from insource.stats import clopper_pearson_upper, wilson

TRIES, PATIENCE_S = 2, 3600.0
ENGINE = "untuned"
OUTCOMES = ("decodable", "no call", "unknown function", "no JSON", "breaks the schema", "cut", "failed")


@contextmanager
def gateway(base: str) -> Iterator[str]:
    """The address of `insource serve` with the base model as its engine."""
    with tempfile.TemporaryDirectory() as folder:
        engine = f'[engines.{ENGINE}]\nkind = "embedded"\nmodel = "{base}"\ntimeout_s = {PATIENCE_S}\n'
        Path(folder, "insource.toml").write_text(engine, "utf-8")
        command = [sys.executable, "-m", "insource", "-C", folder, "serve", "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            try:
                lines = iter(server.stderr or ())
                yield next(found[0] for line in lines if (found := re.search(r"http://[\d.]+:\d+/v1", line)))
            finally:
                server.terminate()


def outcome(tools: list[dict[str, Any]], choice: Any) -> tuple[str, str, str]:
    """What became of a call, the name of its function, and what was said."""
    message = choice.message
    if choice.finish_reason == "length":
        return "cut", "", message.content or ""
    if len(message.tool_calls or ()) != 1:
        return "no call", "", message.content or ""
    function = message.tool_calls[0].function
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    if function.name not in schemas:
        return "unknown function", function.name, function.name
    fault = reader.fault(schemas[function.name], function.arguments).partition(":")[0]
    fault = fault or ("no JSON" if reader.twice(function.arguments) else "")
    return fault or "decodable", function.name, function.arguments


def asked(client: openai.OpenAI, row: dict[str, Any], choice: str) -> dict[str, Any]:
    """One question and what came of it."""
    tools = [bfcl.tool(function) for function in row["function"]]
    try:
        answer = client.chat.completions.create(
            model=ENGINE, messages=row["question"][0], tools=tools, tool_choice=choice, temperature=0
        )
    except openai.OpenAIError as error:
        return {"id": row["id"], "outcome": "failed", "right": False, "doubted": False, "said": str(error)[:400]}
    what, name, said = outcome(tools, answer.choices[0])
    doubted = (answer.model_extra or {})["insource"]["confidence"] == 0.0
    right = name == bfcl.api_name(row["right"])
    return {"id": row["id"], "outcome": what, "right": right, "doubted": doubted, "said": said[:400]}


def counted(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one part."""
    n = len(found)
    undecodable = sum(one["outcome"] != "decodable" for one in found)
    right = sum(one["right"] for one in found)
    low, high = wilson(right, n)
    return {
        "n": n,
        "undecodable": undecodable,
        "upper95": clopper_pearson_upper(undecodable, n),
        "outcomes": {what: sum(one["outcome"] == what for one in found) for what in OUTCOMES},
        "right_function": {"value": right / n, "low": low, "high": high, "n": n},
        "confidence_0": sum(one["doubted"] for one in found),
        "failures": [one for one in found if one["outcome"] != "decodable"][:20],
    }


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Both parts through one gateway."""
    start = time.monotonic()
    local = resolve(given.base, cache_folder(), progress=quiet)
    work = {part: bfcl.questions(given.data, part)[: given.rows] for part in bfcl.FILES}
    done = {one["id"]: one for one in map(json.loads, given.keep.read_text("utf-8").splitlines())}
    todo = [row for rows in work.values() for row in rows if row["id"] not in done]
    with (
        given.keep.open("a", encoding="utf-8") as file,
        gateway(given.base) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=TRIES, timeout=PATIENCE_S) as client,
        ThreadPoolExecutor(given.callers) as callers,
    ):
        for one in callers.map(lambda row: asked(client, row, given.choice), todo):
            done[one["id"]] = one
            file.write(json.dumps(one, ensure_ascii=False) + "\n")
            file.flush()
            if len(done) % 20 == 0:
                print(f"{len(done)} calls", file=sys.stderr)
    return {
        "base": given.base,
        "sha256": local.sha256,
        "tool_choice": given.choice,
        "validator": reader.VALIDATOR,
        "minutes": round((time.monotonic() - start) / 60, 2),
        "parts": {part: counted([done[row["id"]] for row in rows]) for part, rows in work.items()},
    }


def show(document: dict[str, Any]) -> None:
    """The figures in words."""
    print(f"{document['base']}, tool_choice {document['tool_choice']}, read with {document['validator']}")
    for part, one in document["parts"].items():
        share = one["right_function"]
        print(f"{part}: {one['undecodable']} undecodable of {one['n']}; the rate is below {one['upper95']:.3%} with "
              f"95% confidence")  # fmt: skip
        print(f"  right function {share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%}); "
              f"confidence 0: {one['confidence_0']}")  # fmt: skip
        for failure in one["failures"]:
            print(f"  {failure['id']} {failure['outcome']}: {failure['said'][:160]}")


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--choice", default="required", choices=("auto", "required"))
    parser.add_argument("--rows", type=int, help="of each part; left out, all")
    parser.add_argument("--callers", type=int, default=8, help="who ask at a time")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where outcomes are written down; goes on there")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            given.keep = given.keep or Path(folder, "outcomes.jsonl")
            given.keep.touch()
            document = run(given)
    except InsourceError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    if given.json:
        json.dump(document, sys.stdout)
    else:
        show(document)


if __name__ == "__main__":
    main()
