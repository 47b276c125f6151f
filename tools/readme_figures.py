#!/usr/bin/env python3
"""The README's table of figures, from bench/results/*.json.

    tools/readme_figures.py            print what the README should hold
    tools/readme_figures.py --write    put it there
    tools/readme_figures.py --check    end with 1 when the README holds something else

A result file is {"name", "machine", "date", "rows": [{"what", "bar", "figure", "holds"}]}; files are shown in the order
of their names. `holds` false is shown as plainly as true: a bar that was missed stays in the table.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: tools/readme_figures.py -->", "<!-- /figures -->"
NONE = "_No benchmark has been run yet: `make bench`._"


def render(results: list[dict]) -> str:
    """The table and the line that says where it was measured; a plain sentence when there is nothing to show."""
    rows = [row for result in results for row in result["rows"]]
    if not rows:
        return NONE
    lines = ["| what | bar | measured | holds |", "|---|---|---|---|"]
    lines += [
        f"| {row['what']} | {row['bar']} | {row['figure']} | {'yes' if row['holds'] else '**no**'} |" for row in rows
    ]
    where = sorted({f"{result['machine']}, {result['date']}" for result in results if result["rows"]})
    return "\n".join([*lines, "", f"Measured by `make bench` on: {'; '.join(where)}."])


def results() -> list[dict]:
    """Every result file, in order of name."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def placed(readme: str, table: str) -> str:
    """The README's text with `table` between the markers. Ends the program when the markers are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"README.md needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Prints, writes or checks."""
    table = render(results())
    readme = README.read_text("utf-8")
    if "--write" in sys.argv:
        README.write_text(placed(readme, table), "utf-8")
    elif "--check" in sys.argv:
        sys.exit(readme != placed(readme, table))
    else:
        print(table)


if __name__ == "__main__":
    main()
