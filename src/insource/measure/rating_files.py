"""A rating sheet as a file, and what was written into it: CSV for a spreadsheet, or one HTML page for a browser.

The page saves a CSV of the same columns. Cells that a spreadsheet would take for a formula begin with an apostrophe
(OWASP, CSV Injection).
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from insource.errors import Invalid
from insource.measure.rating import WORDS, Key, Line, Ratings
from insource.nouns import visible

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
MOST_BYTES = 50_000_000
LONGEST_NAME = 100


def as_csv(key: Key, lines: Sequence[Line]) -> str:
    """The sheet with an empty column `rating`, and `rater` for a name."""
    answers = ("answer",) if key.scale == "marks" else ("first", "second")
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(("sheet", "item", "input", "wanted", *answers, "rating", "rater"))
    for line in lines:
        writer.writerow(
            [plain(cell) for cell in (key.sheet, line.item, line.input, line.target, *line.answers, "", "")]
        )
    return out.getvalue()


def as_html(key: Key, lines: Sequence[Line]) -> str:
    """The sheet as a page that asks nothing of another host; its button saves the CSV."""
    pages = Environment(
        loader=PackageLoader("insource.measure"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    words = WORDS[key.scale]
    return visible(pages.get_template("rating_sheet.html").render(key=key, lines=lines, words=words))


def plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(STARTS) else cell


def read_back(path: Path) -> tuple[str, list[Ratings]]:
    """The sheet's name, and the ratings of each rater: the column `rater`, else the file's name. Blanks are left out.

    Raises `Invalid` for a file that is not a sheet that was filled in, with its line.
    """
    sheets: set[str] = set()
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(_rows(path), start=2):
        sheets.add((row.get("sheet") or "").strip())
        rating, item = (row.get("rating") or "").strip().lower(), (row.get("item") or "").strip()
        if not rating:
            continue
        rater = (row.get("rater") or "").strip() or path.stem
        if len(rater) > LONGEST_NAME or not rater.isprintable():
            raise Invalid(f"{path.name}, line {number}: {rater[:20]!r} is no name of a person")
        said = found.setdefault(rater, {})
        if item in said:
            raise Invalid(f"{path.name}, line {number}: item {item} is rated twice by one person")
        said[item] = rating.removesuffix(".0")
    if len(sheets) != 1 or "" in sheets:
        raise Invalid(f"{path.name} holds lines of {len(sheets)} sheets, not of one", hint="one file a sheet")
    return sheets.pop(), [Ratings(rater, said) for rater, said in found.items()]


def check(key: Key, ratings: Sequence[Ratings], path: Path) -> None:
    """Raises `Invalid` for an item that the sheet does not have, or a word that its scale does not."""
    for one in ratings:
        for item, word in one.said.items():
            if item not in key.items:
                raise Invalid(f"{path.name}: the sheet has no item {item!r}")
            if word not in WORDS[key.scale]:
                known = ", ".join(WORDS[key.scale])
                raise Invalid(f"{path.name}, item {item}: {word[:20]!r} is no rating", hint=f"one of {known}")


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Invalid(f"{path} is larger than a rating sheet can be ({MOST_BYTES:,} bytes)")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}", hint="a CSV in UTF-8") from error
    first = text.partition("\n")[0]
    separator = ";" if first.count(";") > first.count(",") else ","
    before = csv.field_size_limit(MOST_BYTES)  # the parser's own is 128 KB, less than a long document
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = list(reader)
    except csv.Error as error:
        raise Invalid(f"{path} is no CSV: {error}") from error
    finally:
        csv.field_size_limit(before)
    if missing := {"sheet", "item", "rating"} - set(reader.fieldnames or ()):
        raise Invalid(f"{path.name} has no column {', '.join(sorted(missing))}", hint="keep the sheet's head as it was")
    return rows
