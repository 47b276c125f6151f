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
