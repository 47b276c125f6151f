"""The README's rows of bench/calls.py and bench/malformed.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
GPT_4O = {"simple": 0.0225, "multiple": 0.02}  # gpt-4o-2024-08-06, function mode, tool_choice auto (BFCL-Result)


def calls(d: dict[str, Any]) -> Iterator[Row]:
    """Function calls of the untuned model."""
    for part, one in d["parts"].items():
        found = f"{one['undecodable']} of {one['n']}, rate below {one['upper95']:.2%}, tool_choice {d['tool_choice']}"
        bar = f"0 (GPT-4o {GPT_4O[part]:.2%}, auto)"
        yield f"BFCL {part} calls, untuned, undecodable", bar, found, one["undecodable"] == 0
    share = d["parts"]["multiple"]["right_function"]
    found = f"{share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%}, n {share['n']})"
    yield "… the right function of two to four, untuned", "shown", found, True


def malformed(d: dict[str, Any]) -> Iterator[Row]:
    """Outputs under a schema, counted on every engine."""
    whole, legs = d["whole"], {leg: one for leg, one in d["legs"].items() if one["n"]}
    beside = legs.pop("llamacpp", None)
    engines = {leg.partition("-")[0] for leg in legs}
    enough = whole["n"] >= 30_000 and d["schemas"] >= 300 and len(engines) >= 3
    found = (f"{whole['malformed']} of {whole['n']:,} over {d['schemas']} schemas, rate below {whole['upper95']:.3%}; "
             f"truncated {whole['truncated']}; a free key twice {whole['key_twice']}")  # fmt: skip
    bar = "0 of 30,000, 300 schemas, 3 engines"
    yield (
        f"malformed outputs, ≤ {d['max_tokens']} tokens drawn at temperature 1",
        bar,
        found,
        (enough and whole["malformed"] + whole["truncated"] == 0),
    )
    for leg, one in legs.items():
        found = (f"{one['malformed']} of {one['n']:,} over {one['schemas']} schemas, rate below {one['upper95']:.3%}; "
                 f"truncated {one['truncated']}")  # fmt: skip
        yield f"… {leg}, {one['weights']} weights", "0", found, one["malformed"] + one["truncated"] == 0
    if beside:
        wrong = beside["malformed"] + beside["truncated"]
        found = (f"{wrong} of {beside['n']:,} over {beside['schemas']} schemas, each refused by us: its grammar takes "
                 f"bytes that are no UTF-8")  # fmt: skip
        yield "… beside them llama.cpp's server under our grammar", "shown", found, True
    each = d["per_schema"]
    found = f"{each['fewest']} outputs or more of each, rate of each below {each['largest_upper95']:.1%} or less"
    yield "… schema by schema", "shown", found, True
