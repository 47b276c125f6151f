"""A case as a workbook: inputs on one sheet with their sources, everything else a formula that refers to them.

Each formula carries the value that it had when it was written, for what shows a workbook without recomputing it. Texts
are written as texts, and those that a spreadsheet would take for a formula when copied on begin with an apostrophe
(OWASP, CSV Injection).
"""

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from insource.nouns import Noun, visible
from insource.nouns.business import Business, Figure, Section, Told
from insource.price.formula import names as figures_of
from insource.price.formula import refer

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
HEAD = ("figure", "value", "unit", "how", "where from", "low", "high", "n")
WIDE = (46, 18, 15, 11, 78, 12, 12, 9)
NUMBERS: Mapping[str, str] = {
    "share": "0.00%",
    "US$": '[>=1]"$"#,##0.00;[<0][Red]-"$"#,##0.00;"$"0.00####',
    "US$ a month": '"$"#,##0.00;[Red]-"$"#,##0.00',
    "months": "0.0",
    "hours a month": "#,##0.0",
}
PAYBACK = '[<0]"not within the months";0.0'
INPUTS, CASH = "Inputs", "Cash"
Book = Any  # XlsxWriter is an extra, imported where it works


class Cell(Noun, frozen=True, kw_only=True):
    """Where a figure stands: sheet, row and column from 0."""

    sheet: str
    row: int
    column: int

    @property
    def words(self) -> str:
        """As a formula of any sheet names it."""
        return f"'{self.sheet}'!${chr(65 + self.column)}${self.row + 1}"


def sheet(found: Business) -> bytes:
    """The workbook. Raises `ModuleNotFoundError` without XlsxWriter."""
    from xlsxwriter import Workbook

    out = io.BytesIO()
    book = Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties(
        {"title": f"{found.task}: {plain(found.first)}", "created": datetime.fromisoformat(found.created)}
    )
    book.set_calc_mode("auto")
    looks = {name: book.add_format(how) for name, how in _looks().items()}
    cells = {cell.key: place for cell, place in _places(found)}
    names = {key: place.words for key, place in cells.items()}
    as_of = f"As it stood on {found.created}: "
    _front(book, looks, found, names)
    _table(book, looks, INPUTS, "Change what stands on blue: all other sheets follow.", list(found.inputs), names)
    for title, section in _titled(found):
        _table(book, looks, title, f"{as_of}{section.finding}", _of(section), names)
    _cash(book, looks, found, names)
    _plan(book, looks, found)
    book.close()
    return out.getvalue()


def plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.startswith(STARTS) else shown


def _looks() -> dict[str, dict[str, Any]]:
    """The formats by name; a number's by its unit, `input` before those that may be changed."""
    base = {"valign": "top", "font_name": "Calibri", "font_size": 11}
    looks: dict[str, dict[str, Any]] = {
        "title": {**base, "bold": True, "font_size": 15, "text_wrap": True},
        "text": {**base, "text_wrap": True},
        "head": {**base, "bold": True, "bottom": 1},
        "soft": {**base, "font_color": "#566171", "text_wrap": True, "indent": 1},
        "missing": {**base, "font_color": "#a3231f", "bold": True, "num_format": "#,##0.00", "align": "right"},
        "payback": {**base, "num_format": PAYBACK, "align": "right"},
        "any": {**base, "num_format": "#,##0.######"},
    }
    for unit, how in {**NUMBERS, "": "#,##0.######"}.items():
        looks[f"number {unit}"] = {**base, "num_format": how}
        looks[f"input {unit}"] = {
            **base,
            "num_format": how,
            "bg_color": "#dce8f8",
            "border": 1,
            "border_color": "#a9b4c2",
        }
    return looks


def _titled(found: Business) -> Iterator[tuple[str, Section]]:
    names = ("1 Today", "2 Proposed", "3 People", "4 Quality", "5 Plan")
    yield from zip(names, found.sections, strict=True)


def _of(section: Section) -> list[Figure]:
    """The section's figures that are no inputs."""
    return [one for one in section.figures if not one.given]


def _places(found: Business) -> Iterator[tuple[Figure, Cell]]:
    """Every figure with its cell: each table begins in the fourth row."""
    for row, one in enumerate(found.inputs, start=3):
        yield one, Cell(sheet=INPUTS, row=row, column=1)
    for title, section in _titled(found):
        for row, one in enumerate(_of(section), start=3):
            yield one, Cell(sheet=title, row=row, column=1)
    for row, month in enumerate(found.cash, start=3):
        for column, one in enumerate((month.now, month.then, month.saved, month.payback), start=1):
            yield one, Cell(sheet=CASH, row=row, column=column)


def _page(
    book: Book, looks: Mapping[str, Any], title: str, finding: str, head: tuple[str, ...], wide: tuple[int, ...]
) -> Any:
    page = book.add_worksheet(title)
    for column, width in enumerate(wide):
        page.set_column(column, column, width)
    page.set_row(0, 34)
    page.merge_range(0, 0, 0, min(4, len(wide) - 1), "", looks["text"])
    page.write_string(0, 0, plain(finding), looks["text"])
    for column, name in enumerate(head):
        page.write_string(2, column, name, looks["head"])
    page.freeze_panes(3, 0)
    page.hide_gridlines(2)
    page.set_landscape()
    page.fit_to_pages(1, 0)
    return page


def _table(
    book: Book, looks: Mapping[str, Any], title: str, finding: str, figures: list[Figure], names: Mapping[str, str]
) -> None:
    """Figures one below another: inputs as numbers on blue, all else as formulas."""
    page = _page(book, looks, title, finding, HEAD, WIDE)
    for row, one in enumerate(figures, start=3):
        page.write_string(row, 0, plain(one.name), looks["text"])
        _value(page, looks, (row, 1), one, names)
        for column, text in ((2, one.unit), (3, one.how), (4, one.of)):
            page.write_string(row, column, plain(text), looks["soft"])
        look = looks[f"number {one.unit}"] if one.unit in NUMBERS else looks["any"]
        for column, end in ((5, one.low), (6, one.high)):
            if end is not None:
                page.write_number(row, column, end, look)
        if one.n is not None:
            page.write_number(row, 7, one.n, looks["any"])


def _value(page: Any, looks: Mapping[str, Any], at: tuple[int, int], one: Figure, names: Mapping[str, str]) -> None:
    unit = one.unit if one.unit in NUMBERS else ""
    if one.value is None and one.formula:
        page.write_formula(*at, unless_missing(one.formula, names), looks["missing"], "missing")
    elif one.value is None:
        page.write_blank(*at, None, looks[f"input {unit}"])
    elif one.formula:
        look = looks["payback"] if one.key.endswith("payback") else looks[f"number {unit}"]
        page.write_formula(*at, refer(one.formula, names), look, one.value)
    elif one.key == "months":
        page.write_number(*at, one.value, looks["any"])
    else:
        page.write_number(*at, one.value, looks[f"input {unit}"])


def unless_missing(formula: str, names: Mapping[str, str]) -> str:
    """A formula that is told once all that it needs is filled in."""
    needed = figures_of(formula)
    return f'=IF(COUNT({",".join(names[one] for one in needed)})<{len(needed)},"missing",{refer(formula, names)[1:]})'


def _front(book: Book, looks: Mapping[str, Any], found: Business, names: Mapping[str, str]) -> None:
    """What a manager reads first: the line that decides, and the figures that follow every change."""
    page = book.add_worksheet("Case")
    page.set_column(0, 0, 62)
    page.set_column(1, 1, 24)
    page.set_column(2, 2, 46)
    page.hide_gridlines(2)
    page.set_landscape()
    page.fit_to_pages(1, 0)
    page.set_row(0, 66)
    page.merge_range(0, 0, 0, 2, "", looks["title"])
    page.write_string(0, 0, plain(found.first), looks["title"])
    words = (f"Words are as of {found.created}. Figures follow the blue cells of the sheet {INPUTS}.",)
    row = 1
    for line in (*found.lines, f"From {found.now} to {found.then}.", *words):
        page.set_row(row, 34)
        page.merge_range(row, 0, row, 2, "", looks["text"])
        page.write_string(row, 0, plain(line), looks["text"])
        row += 1
    row += 1
    every = {one.key: one for section in found.sections for one in section.figures}
    for key in FRONT:
        one = every[key]
        page.write_string(row, 0, plain(one.name), looks["text"])
        unit = one.unit if one.unit in NUMBERS else ""
        look = looks["payback"] if key == "payback" else looks[f"number {unit}"]
        look = looks["missing"] if one.value is None else look
        page.write_formula(row, 1, f"={names[key]}", look, "missing" if one.value is None else one.value)
        page.write_string(row, 2, plain(f"{one.unit}; sheet {names[key].split('!')[0][1:-1]}"), looks["soft"])
        row += 1


FRONT = ("now.month", "then.month", "invested", "saved", "payback", "hours.freed", "worth", "worth.low", "worth.high",
         "saved.sure", "pilot.usd")  # fmt: skip


def _cash(book: Book, looks: Mapping[str, Any], found: Business, names: Mapping[str, str]) -> None:
    head = ("month", "today's way", "proposed", "saved up to then", "payback as far as known")
    page = _page(
        book, looks, CASH, "US dollars, month 0 is the day of the change. Not discounted.", head, (10, 18, 18, 20, 26)
    )
    for row, month in enumerate(found.cash, start=3):
        page.write_number(row, 0, month.month, looks["any"])
        for column, one in enumerate((month.now, month.then, month.saved, month.payback), start=1):
            _value(page, looks, (row, column), one, names)
    last = len(found.cash) + 2
    chart = book.add_chart({"type": "column"})
    chart.add_series({"name": "saved up to then", "categories": [CASH, 3, 0, last, 0], "values": [CASH, 3, 3, last, 3]})
    chart.set_title({"name": "Saved up to each month, US$"})
    chart.set_legend({"none": True})
    page.insert_chart(3, 6, chart)


def _plan(book: Book, looks: Mapping[str, Any], found: Business) -> None:
    """Where the task stands, what the pilot has to show, and who answers for it: words, and no formulas."""
    page = _page(
        book, looks, "Stages and pilot", found.pilot.finding, ("what", "how it stands", "where from"), (52, 60, 52)
    )
    rows: list[tuple[str, str, str]] = []
    for stage in found.stages:
        rows.append((stage.name, stage.state, f"insource status {found.task}"))
        rows += [(f"    {what}", f"{'met' if met else 'open'}: {stands}", "") for what, stands, met in stage.needs]
    told: tuple[Told, ...] = (*found.pilot.criteria, *found.governance)
    rows += [(one.name, one.words, one.of) for one in told]
    for row, cells in enumerate(rows, start=3):
        for column, text in enumerate(cells):
            page.write_string(row, column, plain(text), looks["text"])
