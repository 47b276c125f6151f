"""Schemas drawn at random from every keyword there is, and a pool of small values to hold them to."""

import itertools
import random
from collections.abc import Callable
from typing import Any

Dice = random.Random
Draw = Callable[[Dice, int], Any]
NAMES = "abc"
SCALARS: list[Any] = [1, 2, 2.5, -1, 0, "", "x", "yy", "ab", True, False, None]
TYPES: list[Any] = [
    *("string", "integer", "number", "boolean", "null", "object", "object", "object", "array", "array"),
    *(["string", "object"], ["integer", "null"], ["object", "array"]),
]


def schema(dice: Dice, depth: int = 0) -> Any:
    """One schema, four levels deep at most."""
    if depth > 3 or dice.random() < 0.12:
        return dice.choice(
            [True, {}, {"type": dice.choice(["string", "integer", "number", "null", "object", "array"])}]
        )
    made = {"type": dice.choice(TYPES)} if dice.random() < 0.55 else {}
    for _ in range(dice.randint(1, 3)):
        key = dice.choice(list(DRAWS))
        made[key] = DRAWS[key](dice, depth + 1)
    if "if" in made:
        made |= {key: schema(dice, 2) for key, odds in (("then", 0.7), ("else", 0.5)) if dice.random() < odds}
    return made


def whole(dice: Dice) -> dict[str, Any]:
    """A schema with definitions for its references."""
    drawn = schema(dice)
    made = dict(drawn) if isinstance(drawn, dict) else {}
    return {**made, "$defs": {"s": schema(dice, 2), "t": schema(dice, 1)}}


def choice(*values: Any) -> Draw:
    """One of these."""
    return lambda dice, depth: dice.choice(values)


def some(values: Any, most: int) -> Draw:
    """A few of these, at least one."""
    return lambda dice, depth: dice.sample(list(values), dice.randint(1, most))


def several(low: int, high: int) -> Draw:
    """A list of schemas."""
    return lambda dice, depth: [schema(dice, depth) for _ in range(dice.randint(low, high))]


def named(names: Any, most: int = 1) -> Draw:
    """Schemas by name."""
    return lambda dice, depth: {name: schema(dice, depth) for name in some(names, most)(dice, depth)}


DRAWS: dict[str, Draw] = {
    "enum": some(SCALARS, 4),
    "const": choice(*SCALARS),
    "minimum": choice(0, 1, 2),
    "maximum": choice(0, 1, 2, 2.5),
    "exclusiveMinimum": choice(0, 1),
    "multipleOf": choice(1, 2, 0.5),
    "minLength": choice(0, 1, 2),
    "maxLength": choice(0, 1, 2),
    "pattern": choice("^x", "y", "^[a-z]*$", "^..$"),
    "properties": named(NAMES, 2),
    "required": some(NAMES, 2),
    "additionalProperties": lambda dice, depth: dice.choice([False, schema(dice, depth)]),
    "patternProperties": named(["^a", "[bc]", "^.*$", "^[a-z]*$"]),
    "propertyNames": choice({"enum": ["a", "b"]}, {"pattern": "^[ab]"}, {"maxLength": 1}),
    "minProperties": choice(0, 1, 2),
    "maxProperties": choice(0, 1, 2),
    "items": schema,
    "prefixItems": several(1, 2),
    "minItems": choice(0, 1, 2),
    "maxItems": choice(0, 1, 2),
    "contains": schema,
    "uniqueItems": lambda dice, depth: True,
    "not": schema,
    "anyOf": several(2, 2),
    "allOf": several(1, 2),
    "oneOf": several(2, 3),
    "if": schema,
    "dependentRequired": lambda dice, depth: {dice.choice(NAMES): [dice.choice(NAMES)]},
    "dependentSchemas": named(NAMES),
    "unevaluatedProperties": lambda dice, depth: dice.choice([False, schema(dice, depth)]),
    "unevaluatedItems": lambda dice, depth: dice.choice([False, schema(dice, depth)]),
    "$ref": lambda dice, depth: dice.choice(["#/$defs/s", "#/$defs/t", *(["#"] if depth > 1 else [])]),
}


def values() -> list[Any]:
    """Some two hundred values: scalars, short lists, objects of up to three of four names, a few deeper ones."""
    inner = [1, "x", True, None, 2.5, "yy", [], {}, {"a": 1}, [1]]
    pool = [*SCALARS, [], [1], ["x"], [1, 1], [1, 2], ["x", 1], [True, False], [{}], [[], 1], [1, 2, "x"], {}]
    pool += [{name: value} for name in "abcz" for value in inner]
    for names in itertools.combinations("abcz", 2):
        pool += [dict(zip(names, pair, strict=True)) for pair in itertools.product(inner[:5], repeat=2)]
    return [
        *pool,
        {"a": 1, "b": "x", "c": True},
        {"a": {"a": 1}, "b": {"b": 2}},
        {"a": [1, "x"]},
        {"a": {"b": {"c": 1}}},
    ]
