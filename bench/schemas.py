"""Published JSON Schemas under our grammars: python bench/schemas.py FOLDER [--json].

FOLDER is JSONSchemaBench's or the official test suite's (bench/schema_sets.py says which files). Every schema is
refused by name or honoured; what is honoured is held to it:

- its invalid instances must not get through the grammar, nor what a random walk through the mask writes (one walk a
  schema; a text that found its end is read by the validator);
- its valid instances must. An object has no order and 1.0 is 1, so an instance may be written in the schema's order
  (`rearranged`). What only a cap of docs/reference/schemas.md keeps out is counted as `capped`, what is valid only
  where formats are remarks as `format`, all the rest as `rejected`. `outside_form` counts instances that get through as
  an answer to a call but not as a task's, whose objects are closed.

llguidance alone, with its own defaults, is given the same schemas and instances; XGrammar some, where it is installed.
Times are the processor's: of a compilation, and of the mask before each token of the valid instances.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from insource.decode.check import faults
from insource.decode.grammar import for_schema, unbounded
from insource.decode.mask import GrammarMask, Vocabulary
from insource.engines.base_model_chat import Chat
from insource.engines.models import resolve
from insource.errors import InsourceError, Invalid, OutputInvalid
from insource.journeys.lineup import quiet
from insource.settings import cache_folder
from mask_walk import Walker
from schema_peers import Llguidance, Matcher, XGrammar
from schema_report import bound, line, share, show, spread, together
from schema_sets import Case, rearranged, splits, written

Compile = Callable[[dict[str, Any]], Matcher]
EXAMPLES = 100


class Side:
    """One engine's tally over one split."""

    def __init__(self, compile_schema: Compile) -> None:
        self.compile = compile_schema
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.compiled_ms: list[float] = []
        self.mask_us: list[float] = []
        self.examples: list[dict[str, str]] = []

    def take(self, case: Case) -> Matcher | None:
        """Compiles and tries every instance; None when the schema was refused."""
        start = time.process_time()
        try:
            matcher = self.compile(case.schema)
        except Invalid as error:
            self.refused[_reason(str(error))] += 1
            return None
        self.compiled_ms.append(matcher.compiled_ms or (time.process_time() - start) * 1000)
        self.counts["honoured"] += 1
        for valid, value in case.tests:
            if valid:
                self.valid(case, matcher, value)
            else:
                self.counts["invalid"] += 1
                if matcher.accepts(written(value)):
                    self.note("violated", case, value)
        return matcher

    def valid(self, case: Case, matcher: Matcher, value: Any) -> None:
        """Counts what became of a valid instance, and what its masks cost."""
        self.counts["valid"] += 1
        text = written(value)
        before = matcher.disagreed
        self.mask_us += matcher.mask_us(text)
        if matcher.disagreed > before:
            self.note("disagreed", case, value)
        if matcher.accepts(text):
            self.counts["as_written"] += 1
        elif matcher.accepts(written(rearranged(case.schema, value))):
            self.counts["rearranged"] += 1
        elif faults(case.schema, value):
            self.counts["format"] += 1
        else:
            self.note(matcher.capped(case.schema, value), case, value)

    def note(self, what: str, case: Case, value: Any) -> None:
        """Counts, and keeps some to look at."""
        self.counts[what] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"what": what, "id": case.id, "value": written(value)[:300]})

    def document(self, n: int) -> dict[str, Any]:
        """The figures of one split of `n` schemas."""
        c = self.counts
        served = c["as_written"] + c["rearranged"]
        return {
            "honoured": share(c["honoured"], n),
            "refused": dict(self.refused.most_common(40)),
            "violated": {**share(c["violated"], c["invalid"]), "upper95": bound(c["violated"], c["invalid"])},
            "valid": {"n": c["valid"], "as_written": c["as_written"], "rearranged": c["rearranged"],
                      "served": share(served, c["valid"]), "capped": share(c["capped"], c["valid"]),
                      "rejected": share(c["rejected"], c["valid"]), "format": c["format"],
                      "outside_form": share(c["outside_form"], c["valid"])},
            "walks": {"n": c["walked"], "malformed": c["malformed"], "unfinished": c["unfinished"],
                      "failed": c["failed"], "upper95": bound(c["malformed"], c["walked"])},
            "disagreed": c["disagreed"],
            "compile_ms": spread(self.compiled_ms),
            "mask_us": spread(self.mask_us),
            "examples": self.examples,
        }  # fmt: skip


def _reason(said: str) -> str:
    """The keyword a refusal names, or its first words."""
    first = said.strip().split("\n")[0]
    return first.split("'s ", 1)[1].split(" at #")[0] if first.startswith("the schema's ") else first[:80]


class Ours(Matcher):
    """A grammar of `decode.grammar` under the model's vocabulary."""

    def capped(self, schema: dict[str, Any], value: Any) -> str:
        """Whether the instance gets through once our own caps are lifted."""
        try:
            free = Matcher(self.vocabulary, unbounded(schema))
        except Invalid:
            return "rejected"
        ways = written(value), written(rearranged(schema, value))
        return "capped" if any(map(free.accepts, ways)) else "rejected"


class Bench:
    """Splits under one vocabulary; `end` is the token that ends an output, `beside` how many schemas XGrammar gets."""

    def __init__(self, vocabulary: Vocabulary, end: int, beside: int = 0) -> None:
        self.vocabulary, self.end, self.beside = vocabulary, end, beside
        self.xgrammar = XGrammar.found(vocabulary, end) if beside else None

    def split(self, name: str, cases: list[Case]) -> dict[str, Any]:
        """All figures of one split."""
        ours, alone = Side(self.ours), Side(self.alone)
        walker = Walker(self.vocabulary, self.end, closing=0.5, seed=1, limit=400)
        told = time.monotonic()
        for i, case in enumerate(cases):
            matcher = ours.take(case)
            if matcher:
                self.walk(walker, case, ours)
                self.form(case, matcher, ours)
            alone.take(case)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"{name}: {i + 1} of {len(cases)}", file=sys.stderr)
        found = {"schemas": len(cases), "ours": ours.document(len(cases)), "llguidance": alone.document(len(cases))}
        return {**found, "beside": self.peers(cases)} if self.xgrammar else found

    def ours(self, schema: dict[str, Any]) -> Matcher:
        """A schema as we compile it."""
        return Ours(self.vocabulary, for_schema(schema))

    def alone(self, schema: dict[str, Any]) -> Matcher:
        """A schema as llguidance compiles it."""
        return Llguidance(self.vocabulary, schema)

    def walk(self, walker: Walker, case: Case, side: Side) -> None:
        """One random output, read by the validator."""
        try:
            said = walker.say(GrammarMask(self.vocabulary, for_schema(case.schema)))
        except OutputInvalid as error:
            side.note("failed", case, str(error))
            return
        if said is None:
            side.counts["unfinished"] += 1
            return
        side.counts["walked"] += 1
        value = json.loads(said)
        if faults(case.schema, value):
            side.note("malformed", case, value)

    def form(self, case: Case, asked: Matcher, side: Side) -> None:
        """Counts the valid instances that a task's closed objects keep out."""
        try:
            closed = Matcher(self.vocabulary, for_schema(case.schema, closed=True))
        except Invalid:  # what is named has no value
            closed = None
        for valid, value in case.tests:
            ways = written(value), written(rearranged(case.schema, value))
            kept = closed and any(map(closed.accepts, ways))
            if valid and not kept and any(map(asked.accepts, ways)):
                side.counts["outside_form"] += 1

    def peers(self, cases: list[Case]) -> dict[str, Any]:
        """XGrammar, llguidance and us on the same first schemas with valid instances."""
        assert self.xgrammar
        sides = {"ours": Side(self.ours), "llguidance": Side(self.alone), "xgrammar": Side(self.xgrammar.compile)}
        chosen = [case for case in cases if any(valid for valid, _ in case.tests)][: self.beside]
        for case in chosen:
            for side in sides.values():
                side.take(case)
        shown = ("honoured", "refused", "violated", "valid", "compile_ms", "mask_us")
        return {name: {key: side.document(len(chosen))[key] for key in shown} for name, side in sides.items()}


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Every split, and all of them together."""
    local = resolve(given.base, cache_folder(), progress=quiet)
    chat = Chat(local.folder)
    size = json.loads((local.folder / "config.json").read_text("utf-8"))["vocab_size"]
    bench = Bench(Vocabulary(chat.definition, size=size, ends=chat.ends), chat.end, given.beside)
    if bench.xgrammar is None:
        print("xgrammar is not installed, or not asked for: no times beside it", file=sys.stderr)
    start = time.monotonic()
    found = {}
    for name, cases in splits(given.data).items():
        if not given.splits or name in given.splits:
            few = given.limit and given.limit < len(cases)
            chosen = random.Random(given.seed).sample(cases, given.limit) if few else cases  # noqa: S311 - seeded
            found[name] = bench.split(name, chosen)
            print(line(name, found[name]), file=sys.stderr)
    if bench.xgrammar:
        bench.xgrammar.close()
    return {"base": given.base, "limit": given.limit, "total": together(found), "splits": found,
            "minutes": round((time.monotonic() - start) / 60, 2)}  # fmt: skip


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", default="smollm2-135m", help="whose tokenizer")
    parser.add_argument("--splits", nargs="*", help="only these")
    parser.add_argument("--limit", type=int, help="schemas of a split, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beside", type=int, default=30, help="schemas of a split that XGrammar is given too")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
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
