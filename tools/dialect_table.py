#!/usr/bin/env python3
"""The tables of servers in docs/reference/engines.md, from the code's own table.

tools/dialect_table.py            print them
tools/dialect_table.py --write    put them into the page
"""

import re
import sys
from pathlib import Path
from typing import Any

from insource.engines.dialects import Dialect, Wish, dialects

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "engines.md"
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


NONE = "-"


def fields(dialect: Dialect, wish: Wish) -> str:
    """The fields in which a wish is asked for, best first, each once; a dash when it is not."""
    names = [path for form in dialect.says.get(wish, ()) for path in _paths(form)]
    return ", else ".join(dict.fromkeys(names)) or NONE


def _paths(form: dict[str, Any]) -> list[str]:
    """The field that a form fills, and which kind of value; of a forced tool the choice says it all."""
    key, value = list(form.items())[-1]
    if not isinstance(value, dict):
        return [f"`{key}`"]
    return [f"`{key}` of type `{value['type']}`"] if "type" in value else [f"`{key}.{name}`" for name in value]


def chances(dialect: Dialect) -> str:
    """How many other tokens the server lists in each place."""
    form = next(iter(dialect.says.get("likely", ())), {})
    return f"with {form['top_logprobs']} others" if "top_logprobs" in form else "of its own words" if form else NONE


def kinds() -> list[list[str]]:
    """Where each server is and how it is held to an output."""
    head = ["kind", "server", "`base_url`", "a closed set", "a schema", "log probabilities", "checked against"]
    rows = []
    for kind, one in dialects().items():
        choice = fields(one, "choice") if "choice" in one.says else "as a schema"
        about = one.about.replace(", its own API", " (its own API)")
        rows.append(
            [f'`"{kind}"`', about, f"`{one.address}`", choice, fields(one, "schema"), chances(one), one.checked]
        )
    return [head, *rows]


def names() -> list[list[str]]:
    """What else is sent, by the server's name for it."""
    wishes: tuple[Wish, ...] = ("max_tokens", "temperature", "seed", "stop")
    rows = [[f"`{kind}`", *(fields(one, wish) for wish in wishes), one.adapters] for kind, one in dialects().items()]
    return [["kind", *wishes, "an adapter"], *rows]


def statuses() -> list[list[str]]:
    """What the server's statuses mean."""
    head = ["kind", "busy", "down", "denied", "the request is at fault"]
    rows = []
    for kind, one in dialects().items():
        down = [status for status in one.down if status not in one.busy]
        rows.append([f"`{kind}`", *(", ".join(map(str, some)) for some in (one.busy, down, one.denied, one.rejects))])
    return [head, *rows]


def render(rows: list[list[str]]) -> str:
    """Rows as a table of Markdown, the first as its head."""
    head, *rest = rows
    lines = ["| " + " | ".join(line) + " |" for line in (head, *rest)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def placed(page: str) -> str:
    """The page with every marked table as the code has it."""
    tables = {"kinds": kinds, "names": names, "statuses": statuses}
    return MARKED.sub(lambda found: f"{found[1]}{render(tables[found[2]]())}\n{found[3]}", page)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(placed(PAGE.read_text("utf-8")), "utf-8")
    else:
        print(*(render(table()) for table in (kinds, names, statuses)), sep="\n\n")
