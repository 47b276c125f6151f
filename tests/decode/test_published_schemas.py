"""A sample of published schemas: refused by name or honoured, and what is honoured lets nothing invalid through."""

import random
from pathlib import Path
from typing import Any

import pytest

from insource.decode.mask import Vocabulary
from schema_sets import splits
from schemas import Bench

SUITES = {"jsonschemabench": 30, "jsonschema_testsuite": 60}  # schemas of each split
END = 2


@pytest.mark.parametrize("suite", SUITES)
def test_a_sample_of_published_schemas_is_honoured(suite: str, shared: Path, vocabulary: Vocabulary) -> None:
    if not (shared / suite).exists():
        pytest.skip(f"no {suite} in ../shared/data")
    bench = Bench(vocabulary, END)
    tried: dict[str, Any] = {}
    for name, cases in splits(shared / suite).items():
        few = random.Random(11).sample(cases, min(SUITES[suite], len(cases)))  # noqa: S311 - seeded on purpose
        tried[name] = bench.split(name, few)
    ours = {name: found["ours"] for name, found in tried.items()}
    for name, found in ours.items():
        wrong = [each for each in found["examples"] if each["what"] in ("violated", "malformed", "disagreed")]
        assert wrong == [], name
        assert found["honoured"]["k"] >= tried[name]["llguidance"]["honoured"]["k"] - 2, name
    tests = [sum(found[what]["n"] for found in ours.values()) for what in ("violated", "walks")]
    assert min(tests) > 50
    assert sum(found["walks"]["failed"] for found in ours.values()) <= 0.01 * tests[1]
    valid = [sum(found["valid"][what]["k"] for found in ours.values()) for what in ("rejected", "served")]
    assert valid[0] <= 0.02 * valid[1]
