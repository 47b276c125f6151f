"""An answer that has run out of room is closed: whole, valid, and within its limit."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from insource.decode.check import faults
from insource.decode.closing import Closer
from insource.decode.grammar import for_schema
from insource.decode.keywords import FORMATS
from insource.decode.mask import GrammarMask, Vocabulary
from insource.errors import Invalid
from insource.nouns import JsonObject
from insource.stats import clopper_pearson_upper

END = 2


def thing(**properties: Any) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list(properties)}


TEXTS = {"type": "array", "items": {"type": "string"}}
TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "parts": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["name", "parts"],
}
SCHEMAS: dict[str, JsonObject] = {
    "texts": thing(parts=TEXTS, note={"type": "string"}),
    "a text of a least length": thing(note={"type": "string", "minLength": 30}, more=TEXTS),
    "least items": thing(sizes={"type": "array", "items": {"type": "number"}, "minItems": 5}),
    "optional after optional": {"type": "object", "properties": {f"p{i}": TEXTS for i in range(6)}},
    "anything": {"type": "object"},
    "a tree": TREE,
    "numbers": thing(a={"type": "integer", "minimum": 12}, b={"type": "number", "maximum": -3}, c={"type": "number"}),
    "cases": thing(what={"anyOf": [thing(kind={"const": "a"}, texts=TEXTS), thing(kind={"const": "b"}, n=TREE)]}),
    "a pattern": thing(code={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}, rest=TEXTS),
    "an enum": thing(kind={"enum": ["}", "]", '"', "\\", "long as it is"]}, rest=TEXTS),
    "formats": thing(**{form: {"type": "string", "format": form} for form in sorted(FORMATS)}, rest=TEXTS),
}


def ramble(vocabulary: Vocabulary, mask: GrammarMask, limit: int, seed: int) -> list[int] | None:
    """What a model that will not come to an end says, `limit` tokens or little more; None where it had to end."""
    dice = random.Random(seed)  # noqa: S311 - seeded on purpose
    pieces = vocabulary.pieces(range(vocabulary.size))
    ending = np.array([any(byte in b'"}]' for byte in piece) for piece in pieces])
    said: list[int] = []
    while len(said) < limit:
        said += mask.forced()
        if mask.done:
            return None
        allowed = mask.allowed()
        on = allowed & ~ending
        on[END] = False
        if not (on.any() and dice.random() < 0.9):
            on = allowed
            on[END] = False
        if not on.any():
            return None
        token = int(dice.choice(np.flatnonzero(on)))
        mask.advance(token)
        said.append(token)
    return said


def spelled(vocabulary: Vocabulary, tokens: list[int]) -> str:
    return b"".join(vocabulary.pieces(tokens)).decode("utf-8", "replace")


@pytest.mark.parametrize("limit", [150, 400])
@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_cut_is_closed_to_a_whole_valid_answer_within_the_limit(
    name: str, limit: int, vocabulary: Vocabulary
) -> None:
    schema, closer = SCHEMAS[name], Closer(vocabulary, [END])
    mask, limit = GrammarMask(vocabulary, for_schema(schema)), limit + 400 * (name == "formats")
    cut = 0
    for seed in range(8):
        said = ramble(vocabulary, mask.start(), limit, seed)
        if said is None:
            continue
        with pytest.raises(ValueError, match=r"Unterminated|Expecting|Invalid"):
            json.loads(spelled(vocabulary, said))
        found = closer.close(mask, said, limit)
        assert found is not None
        kept, way = found
        assert kept + len(way) <= limit
        text = spelled(vocabulary, said[:kept] + way)
        assert faults(schema, json.loads(text)) == [], text
        cut += 1
    assert cut >= 1 or name in ("numbers", "least items"), "nothing was cut, so nothing was shown"


def test_as_much_is_kept_as_will_do(vocabulary: Vocabulary) -> None:
    mask = GrammarMask(vocabulary, for_schema(SCHEMAS["texts"]))
    said = ramble(vocabulary, mask.start(), 300, seed=3)
    assert said is not None
    found = Closer(vocabulary, [END]).close(mask, said, 300)
    assert found is not None
    assert found[0] >= 300 - 64


def test_where_the_least_answer_is_longer_than_the_limit_there_is_none(vocabulary: Vocabulary) -> None:
    mask = GrammarMask(vocabulary, for_schema(SCHEMAS["least items"]))
    said = ramble(vocabulary, mask.start(), 6, seed=0)
    assert said is not None
    assert Closer(vocabulary, [END]).close(mask, said, 6) is None


@pytest.mark.parametrize("part", ["Github_easy", "Github_medium", "Glaiveai2K"])
def test_published_schemas_are_closed_too(part: str, shared: Path, vocabulary: Vocabulary) -> None:
    path = shared / "jsonschemabench" / f"{part}.jsonl.gz"
    if not path.exists():
        pytest.skip("no jsonschemabench in ../shared/data")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line)["schema"] for line in lines]
    closer = Closer(vocabulary, [END])
    found: Counter[str] = Counter()
    for number, schema in enumerate(random.Random(7).sample(rows, 60)):  # noqa: S311 - seeded on purpose
        try:
            mask = GrammarMask(vocabulary, for_schema(schema))
        except Invalid:
            continue
        said = ramble(vocabulary, mask.start(), 1000, number)
        if said is None:
            continue
        closed = closer.close(mask, said, 1000)
        if closed is None:
            found["longer than the limit"] += 1
            continue
        text = spelled(vocabulary, said[: closed[0]] + closed[1])
        found["malformed" if faults(schema, json.loads(text)) else "closed"] += 1
    bound = clopper_pearson_upper(found["malformed"], found["closed"] + found["malformed"])
    print(part, dict(found), f"95% upper bound of malformed {bound:.1%}")
    assert found["malformed"] == 0
    assert found["closed"] >= 10
    assert found["longer than the limit"] <= 3
