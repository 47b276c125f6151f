"""A schema made to hurt is refused or compiled within a second and within bounds, and the next call is answered."""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import hostile_schemas
import pytest

from insource.decode import grammar
from insource.decode.grammar import for_schema
from insource.decode.mask import GrammarMask, Vocabulary
from insource.engines.base_model import BaseModel
from insource.engines.local import LocalModel
from insource.errors import InsourceError, Invalid, OutputInvalid
from insource.nouns import Message, Request
from pace import within

SECOND, MEGABYTES = 1.0, 400
AGAIN = 2  # a machine may have a slow moment; code that is slow is so each time
MASKS = 8
Family = Callable[[], Iterator[hostile_schemas.Case]]
HEAVY = tuple(getattr(hostile_schemas, name) for name in ("nesting", "rings", "enums", "sizes", "explosions"))
QUICK = tuple(family for family in hostile_schemas.FAMILIES if family not in HEAVY)


def tried(schema: Any, vocabulary: Vocabulary) -> str:
    """What became of a schema: refused, compiled, or (after compiling) left by the engine with a clean error."""
    try:
        mask = GrammarMask(vocabulary, for_schema(schema))
    except Invalid as error:
        assert str(error)
        assert error.hint
        return "refused"
    try:
        for _ in range(MASKS):
            mask.forced()
            if not mask.done:
                mask.advance(int(mask.allowed().argmax()))
    except OutputInvalid:
        return "left"
    return "compiled"


def timed(schema: Any, vocabulary: Vocabulary) -> tuple[str, float]:
    """What became of it, and seconds of processor time, with nothing kept of an earlier try."""
    grammar._compiled.cache_clear()
    start = time.process_time()
    return tried(schema, vocabulary), time.process_time() - start


def hold(cases: Iterable[hostile_schemas.Case], vocabulary: Vocabulary) -> dict[str, int]:
    """Tries all; fails on what takes more than a second or much memory. Counts outcomes."""
    known = GrammarMask(vocabulary, for_schema({"enum": ["still here"]}))
    found = {"refused": 0, "compiled": 0, "left": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slow = []
    for name, schema in cases:
        became, spent = timed(schema, vocabulary)
        found[became] += 1
        if not within(spent, SECOND) and not any(within(timed(schema, vocabulary)[1], SECOND) for _ in range(AGAIN)):
            slow.append((name, round(spent, 2)))
        assert known.takes(vocabulary.tokens.tokenize_str('"still here"')), name
    assert slow == []
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES
    return found


def test_there_are_more_than_two_hundred_and_no_two_alike() -> None:
    names = [name for name, _ in hostile_schemas.cases()]
    assert len(names) >= 300
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("family", QUICK, ids=lambda family: family.__name__)
def test_a_hostile_schema_is_refused_or_compiled_within_a_second(family: Family, vocabulary: Vocabulary) -> None:
    assert sum(hold(family(), vocabulary).values()) > 8


@pytest.mark.slow
@pytest.mark.parametrize("family", HEAVY, ids=lambda family: family.__name__)
def test_one_in_five_of_the_heavy_ones_is_too(family: Family, vocabulary: Vocabulary) -> None:
    assert sum(hold(islice(family(), 2, None, 5), vocabulary).values()) > 2


@pytest.mark.slow
def test_every_hostile_schema_is_refused_or_compiled_within_a_second(vocabulary: Vocabulary) -> None:
    found = hold(hostile_schemas.cases(), vocabulary)
    assert found["left"] <= 2
    assert found["refused"] > 200
    assert found["compiled"] > 100


FATAL = """
import sys
sys.path[:0] = sys.argv[1:3]
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import hostile_schemas
from insource.decode.grammar import for_schema
from insource.errors import Invalid
for name, schema in (*hostile_schemas.rings(), *hostile_schemas.nesting()):
    try:
        for_schema(schema)
    except Invalid:
        pass
print("alive")
"""


def test_a_schema_that_goes_deep_does_not_end_the_process() -> None:
    """Native code that runs out of stack leaves no exception to catch: tried where only a process is lost."""
    here = Path(__file__)
    command = [sys.executable, "-c", FATAL, str(here.parent), str(here.parents[2] / "src")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout == "alive\n"


ASKED = [
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"type": "string", "pattern": r"^((a{1,50}){1,50}){1,50}$"},
    {"enum": list(range(100_000))},
    {"$ref": "#"},
]


async def test_the_engine_answers_the_next_call(tiny: LocalModel) -> None:
    def call(number: int, schema: Any) -> Request:
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        turns = (Message(role="user", content="Say something."),)
        return Request(id=str(number), messages=turns, response_format=form, max_tokens=40)

    engine = BaseModel(tiny, name="tiny")
    good = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    try:
        for i, schema in enumerate(ASKED):
            with pytest.raises(InsourceError):
                await engine.complete(call(i, schema))
            said = await engine.complete(call(i, good))
            assert said.finish == "stop"
            assert said.value in ({"a": "x"}, {"a": "y"})
        both = await asyncio.gather(
            *[engine.complete(call(i, schema)) for i, schema in enumerate((ASKED[0], good))], return_exceptions=True
        )
        assert isinstance(both[0], Invalid)
        assert not isinstance(both[1], BaseException)
    finally:
        await engine.close()
