"""Schemas made to hurt: a table of families, each a generator of (name, schema). 200 cases and more."""

import json
from collections.abc import Iterator
from typing import Any

Case = tuple[str, Any]
OPTIONAL = {"type": ["object", "null"]}


def wrapped(depth: int, key: str, inner: Any) -> Any:
    """`inner` under `depth` levels of one keyword."""
    for _ in range(depth):
        inner = {
            "items": lambda each: {"type": "array", "items": each},
            "properties": lambda each: {"type": "object", "properties": {"p": each}, "required": ["p"]},
            "patternProperties": lambda each: {"patternProperties": {"^p": each}},
            "additionalProperties": lambda each: {"additionalProperties": each},
            "prefixItems": lambda each: {"type": "array", "prefixItems": [each], "minItems": 1},
            "not": lambda each: {"not": each},
            "allOf": lambda each: {"allOf": [each, {"type": ["string", "null"]}]},
            "anyOf": lambda each: {"anyOf": [each, {"type": "null"}]},
            "oneOf": lambda each: {"oneOf": [each, {"type": "boolean"}]},
            "if": lambda each: {"if": each, "then": {"type": "string"}},
            "contains": lambda each: {"type": "array", "contains": each},
            "dependentSchemas": lambda each: {"type": "object", "dependentSchemas": {"p": each}},
        }[key](inner)
    return inner


NESTING = ("items", "properties", "patternProperties", "additionalProperties", "prefixItems", "not", "allOf", "anyOf",
           "oneOf", "if", "contains", "dependentSchemas")  # fmt: skip


def nesting() -> Iterator[Case]:
    for key in NESTING:
        for depth in (12, 30, 60, 5_000):
            yield f"{key} {depth} deep", wrapped(depth, key, {"type": "string"})


def recursion() -> Iterator[Case]:
    for key in ("items", "additionalProperties"):
        yield f"itself under {key}", {"type": ["array", "object"], key: {"$ref": "#"}}
        yield f"only itself under {key}, one at least", {
            "type": {"items": "array"}.get(key, "object"), key: {"$ref": "#"}, "minItems": 1, "minProperties": 1,
            "required": ["a"],
        }  # fmt: skip
    yield "a tree", {"properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}}
    yield "needs itself", {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    for key in ("allOf", "anyOf", "oneOf"):
        yield f"is itself by {key}", {key: [{"$ref": "#"}, {"type": "string"}]}
    for key in ("not", "if", "then"):
        yield f"is itself by {key}", {"if": {"type": "string"}, key: {"$ref": "#"}}
    yield "is itself", {"$ref": "#"}
    yield "is itself by an anchor", {"$anchor": "a", "$ref": "#a"}
    yield "two trees at once", {
        "$defs": {n: {"type": "object", "properties": {n: {"$ref": f"#/$defs/{n}"}, "c": {"$ref": f"#/$defs/{n}"}}}
                  for n in "ab"},
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
    }  # fmt: skip
    yield "excludes itself", {"type": "object", "properties": {"a": {"not": {"$ref": "#"}}}}
    yield "one of itself and a tree", {"oneOf": [{"items": {"$ref": "#"}, "type": "array"}, {"type": "array"}]}


def rings() -> Iterator[Case]:
    for size in (2, 30, 200, 700, 3_000):
        steps: dict[str, Any] = {
            "properties": lambda ref: {"type": "object", "properties": {"n": ref, "m": ref}},
            "anyOf": lambda ref: {"anyOf": [{"type": "array", "items": ref}, {"type": "null"}]},
            "chain": lambda ref: ref,
            "allOf": lambda ref: {"allOf": [ref], "type": "object"},
        }
        for name, step in steps.items():
            made = {f"d{i}": step({"$ref": f"#/$defs/d{(i + 1) % size}"}) for i in range(size)}
            yield f"a ring of {size} by {name}", {"$defs": made, "$ref": "#/$defs/d0"}
            made[f"d{size - 1}"] = {"type": "null"}
            yield f"a line of {size} by {name}", {"$defs": made, "$ref": "#/$defs/d0"}


def enums() -> Iterator[Case]:
    for count in (1_000, 10_000, 45_000, 200_000):
        yield f"{count} words", {"enum": [f"label number {i}" for i in range(count)]}
        yield f"{count} numbers", {"enum": list(range(count))}
        yield f"{count} objects", {"enum": [{"a": i, "b": [i]} for i in range(count)]}
    yield "900 long texts", {"enum": ["x" * 1_000 + str(i) for i in range(900)]}
    yield "everything but 5,000 words", {"type": "string", "not": {"enum": [f"w{i}" for i in range(5_000)]}}
    yield "everything but 200 words", {"type": "string", "not": {"enum": [f"word {i}" for i in range(200)]}}
    yield "one of two large lists", {"oneOf": [{"enum": list(range(i, i + 9_000))} for i in (0, 5_000)]}
    yield "no value at all", {"enum": []}


PATTERNS = [
    *(r"^(a+)+$", r"^(a|aa)+$", r"^(.*a){12}$", r"^(.*a){200}$", r"(x+x+)+y", r"^(\w+\s?)*$", r"^((a*)*)*$"),
    *(r"^(a{1,100}){1,100}$", r"^((a{1,50}){1,50}){1,50}$", r"^.{0,60000}$", r"^a{65000}$", r"^(?:a{1000}){1000}$"),
    *(r"^(\p{L}{1,500}){1,500}$", r"^[\s\S]*a[\s\S]{40}$", r"(a|b)*a(a|b){12}", r"(a|b)*a(a|b){30}"),
    *(r"^(?=a)b", r"(?<!a)b", r"(a)\1", r"\bword\b", "(a", "[z-a]", "*", "a{2,1}", "(?P<n>a)", r"^\p{Nope}$"),
    *("[]", "[^]"),
    *("(" * 300 + "a" + ")" * 300, "a?" * 60 + "a" * 60, "|".join(f"w{i}" for i in range(350)), "^" * 500 + "$" * 500),
]  # fmt: skip


def patterns() -> Iterator[Case]:
    for pattern in PATTERNS:
        shown = pattern if len(pattern) < 30 else f"{pattern[:20]}… ({len(pattern)})"
        yield f"pattern {shown}", {"type": "string", "pattern": pattern}
    yield "not a pattern", {"type": "string", "not": {"pattern": "^(a|b)*c$"}}
    for n in (5, 40):
        both = [{"pattern": f"^(a|b)*{'ab'[i % 2]}(a|b){{{i}}}$"} for i in range(n)]
        yield f"{n} patterns at once", {"type": "string", "allOf": both}
        yield f"{n} patterns of names", {"patternProperties": {each["pattern"]: {"type": "null"} for each in both}}


def repeats() -> Iterator[Case]:
    for count in (10_000, 1_000_000, 10**9, 2**63, 10**30):
        for key, schema in (("Length", {"type": "string"}), ("Items", {"type": "array", "items": {"type": "null"}}),
                            ("Properties", {"type": "object"})):  # fmt: skip
            for end in ("min", "max"):
                yield f"{end}{key} {count:g}", {**schema, f"{end}{key}": count}
    yield "1,000 lists of lists", wrapped(6, "items", {"type": "string"}) | {"minItems": 1_000, "maxItems": 1_000}
    yield "a long list of choices", {"type": "array", "minItems": 300, "items": {"anyOf": [{"type": "null"}, OPTIONAL]}}


def sizes() -> Iterator[Case]:
    yield "ten megabytes of texts", {"enum": ["x" * 1_000 + str(i) for i in range(10_000)]}
    yield "ten megabytes of remarks", {"description": "x" * 10_000_000}
    yield "ten megabytes in one name", {"properties": {"x" * 10_000_000: True}}
    yield "ten megabytes of pattern", {"pattern": "x" * 10_000_000}
    for count in (100, 1_000, 8_000, 40_000):
        named = {f"property {i}": {"type": "string"} for i in range(count)}
        yield f"{count} properties that may be missing", {"properties": named, "additionalProperties": False}
        yield f"{count} properties that must be there", {"properties": named, "required": list(named)}
        yield f"{count} properties in an open object", {"type": "object", "properties": named}
        yield f"{count} definitions", {"$defs": {f"d{i}": {"type": "null"} for i in range(count)},
                                       "anyOf": [{"$ref": f"#/$defs/d{i}"} for i in range(count)]}  # fmt: skip


def explosions() -> Iterator[Case]:
    kinds = [{"type": "string"}, {"type": "null"}, {"type": "boolean"}, OPTIONAL]
    for n in (4, 8, 16, 64):
        choices = [{"anyOf": [{"properties": {f"p{i}": kind}} for kind in kinds]} for i in range(n)]
        yield f"{n} choices at once", {"type": "object", "allOf": choices}
        yield f"{n} conditions", {"allOf": [{"if": {"properties": {f"p{i}": {"const": 1}}},
                                             "then": {"required": [f"q{i}"]}} for i in range(n)]}  # fmt: skip
        yield f"{n} dependencies", {"type": "object", "dependentRequired": {f"p{i}": [f"p{i + 1}"] for i in range(n)}}
        yield f"one of {n} open objects", {"oneOf": [{"properties": {f"p{i}": {"type": "string"}}} for i in range(n)]}
        yield f"one of {n} required names", {"type": "object", "oneOf": [{"required": [f"p{i}"]} for i in range(n)]}
        yield f"none of {n} things", {"not": {"anyOf": [{"required": [f"p{i}"], "properties": {f"p{i}": {"const": i}}}
                                                        for i in range(n)]}}  # fmt: skip
        yield f"at most {n // 2} of {n}", {"type": "object", "properties": {f"p{i}": True for i in range(n)},
                                           "maxProperties": n // 2}  # fmt: skip
        doubled = {f"d{i}": {"allOf": [{"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, kind]} for kind in kinds]}
                   for i in range(n)}  # fmt: skip
        yield f"references doubled {n} times", {"$defs": {**doubled, f"d{n}": {"type": "string"}}, "$ref": "#/$defs/d0"}
    yield "one of 1,000 cases", {"oneOf": [{"const": i} for i in range(1_000)]}
    yield (
        "one of 100 objects by kind",
        {"oneOf": [{"properties": {"k": {"const": i}}, "required": ["k"]} for i in range(100)]},
    )


def names() -> Iterator[Case]:
    for n in (3, 60, 1_500):
        yield (
            f"{n} overlapping patterns",
            {"patternProperties": {f"^[a-z]{{{i + 1}}}": {"type": "null"} for i in range(n)}},
        )
        yield f"{n} patterns apart", {"patternProperties": {f"^n{i}_": {"type": "null"} for i in range(n)}}
    yield (
        "a pattern over all properties",
        {"properties": {f"p{i}": {} for i in range(300)}, "patternProperties": {"p": {}}},
    )
    odd = [
        "\0",
        "\u2028",
        "\ufeff",
        "\u202e",
        "e\u0301",
        "\U000e0001",
        '"',
        "\\",
        "\n",
        "</script>",
        "🛠" * 200,
        " ",
        "",
    ]
    yield "odd names", {"properties": {name: {"type": "null"} for name in odd}, "required": odd}
    yield "odd texts", {"enum": [name for name in odd if name != "\0"]}
    yield "a name with NUL in a list", {"const": {"\0": "\0"}}
    yield "half a surrogate", json.loads('{"const": "\\ud800"}')
    yield "half a surrogate for a name", json.loads('{"properties": {"\\udfff": true}}')
    ours = ("$ref", "$defs", "any0", "__proto__", "constructor", "x-guidance", "unevaluated", "enum", "0")
    yield "our own words for names", {"properties": {name: {"const": name} for name in ours}, "required": list(ours)}
    yield (
        "our own words for definitions",
        {
            "$defs": {name: {"type": "null"} for name in ours},
            "items": {"$ref": "#/$defs/any0"},
            "contains": {"$ref": "#/$defs/0"},
        },
    )
    yield "a pointer with escapes", {"$defs": {"a/b~c%d": {"type": "null"}}, "$ref": "#/$defs/a~1b~0c%25d"}


def numbers() -> Iterator[Case]:
    for key in ("minimum", "maximum", "exclusiveMinimum", "multipleOf"):
        for value in (10**400, -(10**400), 1e308, -1e308, 5e-324, 1e-300, float("inf"), float("nan"), 10**20 + 1):
            yield f"{key} {_shown(value)}", {"type": "number", key: value}
    yield "a constant of 400 digits", {"const": 10**400}
    yield "a prime step", {"type": "integer", "multipleOf": 999_999_937}
    yield "a fine step", {"type": "number", "multipleOf": 1e-15, "minimum": 0, "maximum": 1e15}
    yield "many steps at once", {"allOf": [{"multipleOf": n} for n in (7, 11, 13, 17, 19, 23, 29, 31, 37, 41)]}
    yield "minus zero", {"const": -0.0}
    yield "a range without a number", {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1.0000000000001}


def _shown(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{'-' * (value < 0)}{len(str(abs(value)))} digits"


def contradictions() -> Iterator[Case]:
    yield "minLength > maxLength", {"type": "string", "minLength": 5, "maxLength": 2}
    yield "minItems > maxItems", {"type": "array", "minItems": 5, "maxItems": 2}
    yield "minimum > maximum", {"type": "integer", "minimum": 5, "maximum": 2}
    yield "minProperties > maxProperties", {"type": "object", "minProperties": 5, "maxProperties": 2}
    yield "required and forbidden", {"type": "object", "required": ["z"], "additionalProperties": False}
    yield "required and false", {"type": "object", "required": ["z"], "properties": {"z": False}}
    yield "two types", {"allOf": [{"type": "string"}, {"type": "null"}]}
    yield "not anything", {"not": {}}
    yield "a pattern of no text", {"type": "string", "pattern": "^a$", "minLength": 2}
    yield "a format of no text", {"type": "string", "format": "date", "maxLength": 3}
    yield "an integer between integers", {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}
    yield "an item that cannot be", {"type": "array", "minItems": 1, "items": False}


def broken() -> Iterator[Case]:
    for key, value in (("type", "text"), ("type", 5), ("enum", 3), ("properties", []), ("required", "a"), ("items", 5),
                       ("minimum", "a"), ("maxLength", -1), ("maxLength", 1.5), ("pattern", 5), ("allOf", []),
                       ("allOf", {}), ("$ref", 5), ("$id", 5), ("$defs", []), ("if", 5), ("format", 5), ("const", None),
                       ("$schema", "http://127.0.0.1:9/draft-07/none"), ("$schema", 5), ("$ref", "#/nowhere"),
                       ("$ref", "file:///etc/passwd"), ("$ref", "http://127.0.0.1:9/x"), ("$ref", "#/%zz"),
                       ("$ref", "//"), ("$ref", "urn:x"), ("$dynamicRef", "#x"), ("x-guidance", {"lenient": True}),
                       ("$id", "urn:uuid:1"), ("$id", "#"),
                       ("$vocabulary", {"http://127.0.0.1:9/v": True})):  # fmt: skip
        yield f"{key} is {value!r}", {key: value}
    yield "a reference into a text", {"$ref": "#/x", "x": "text"}
    yield "a reference into a remark", {"$ref": "#/x", "x": {"type": "nope"}}


def roots() -> Iterator[Case]:
    for kind in ("string", "number", "integer", "boolean", "null", "array"):
        yield f"a {kind} at the root", {"type": kind}
    yield "anything at all", {}
    yield "a list of anything", {"type": "array", "items": {}}
    yield "one constant", {"const": [1, {"a": None}]}


FAMILIES = (nesting, recursion, rings, enums, patterns, repeats, sizes, explosions, names, numbers, contradictions,
            broken, roots)  # fmt: skip


def cases() -> Iterator[Case]:
    """All of them: (family: name, schema)."""
    for family in FAMILIES:
        for name, schema in family():
            yield f"{family.__name__}: {name}", schema
