import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from measure_rows import LABELS, RECEIPT, TASK, answered, run
from test_report import made

import insource.measure
from insource.measure import Run, charts
from insource.measure.render import html
from insource.nouns import Output, Task
from insource.nouns.visible import STEERING

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}",
    "</title><b>",
    "a" * 90_000,
    "\x00\ud7ff\u202e\x1b[31m",
)


class Page(HTMLParser):
    """What a page is made of."""

    VOID = {"meta", "br", "wbr", "line", "rect", "circle", "path"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.faults, self.ids, self.links = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        self.links += [value for key, value in attrs if key in ("href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            self.faults += [] if self.open and self.open.pop() == tag else [tag]

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def page(report, task=TASK):
    return html(report, task)


@pytest.fixture(scope="module")
def whole():
    return page(made({"baseline": run(0.8, 200, 1), "tuned": run(0.95, 200, 2)}, {"cloud": "it is away"}))


def test_the_page_is_well_formed_and_stands_alone(whole) -> None:
    found = Page(whole)
    assert not found.faults
    assert not found.open
    assert found.links
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    assert len(found.ids) == len(set(found.ids))
    assert found.count("script") == 0
    assert "url(" not in whole
    assert "@import" not in whole
    assert len(whole.encode()) < 200_000


def test_the_page_begins_with_who_wins_and_says_what_failed(whole) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", whole, re.DOTALL)[1]
    assert heading.startswith("tuned wins: ")
    assert "it is away" in whole
    assert "stratified" not in whole


def test_every_picture_has_a_title_or_stands_in_a_table_with_its_numbers(whole) -> None:
    for svg in re.findall(r"<svg[^>]*>(?:(?!</svg>).)*", whole, re.DOTALL):
        titled = 'role="img"' in svg and "<title>" in svg
        assert titled or 'aria-hidden="true"' in svg or "<svg x=" in svg
    assert whole.count("the same as tables") == whole.count('role="img"') // 2 == 2


def test_headings_do_not_skip_a_level_and_tables_name_their_columns(whole) -> None:
    levels = [int(tag[1]) for tag, _ in Page(whole).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in Page(whole).tags if tag == "th")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_never_obeyed(text) -> None:
    task = Task(name="t", kind="classify", outputs=(Output(name="kind", labels=(text, "noise")),), metric="accuracy")
    more = {"text": text, "confidence": 0.9, "tags": {text: text}}
    rows = [answered(i, {"kind": "noise" if i % 3 else text}, {"kind": text}, **more) for i in range(60)]
    others = [answered(i, {"kind": text}, {"kind": text}, text=text) for i in range(60)]
    made_ = made({text: Run(tuple(rows), (1.0,), 1.0), "b": Run(tuple(others), (1.0,), 1.0)}, {"c": text}, task)
    found = html(made_, task)
    parsed = Page(found)
    assert not parsed.faults
    assert parsed.count("script") == parsed.count("img") == parsed.count("b") == 0
    assert "49" not in re.search(r"<h1>(.*?)</h1>", html(made_, task), re.DOTALL)[1]
    assert not any(key.startswith("on") for _, attrs in parsed.tags for key in attrs)
    assert not STEERING.search(found)


def test_long_inputs_are_cut_so_that_the_page_stays_small() -> None:
    rows = [
        answered(i, {"kind": LABELS[i % 2]}, {"kind": "leak"}, text="é" * 50_000, confidence=0.5) for i in range(300)
    ]
    others = [answered(i, {"kind": "crack"}, {"kind": "leak"}, text="é" * 50_000) for i in range(300)]
    assert (
        len(page(made({"a": Run(tuple(rows), (1.0,), 1.0), "b": Run(tuple(others), (1.0,), 1.0)})).encode()) < 200_000
    )


def test_extraction_is_shown_field_by_field() -> None:
    rows = [answered(i, {"company": "acme", "total": i % 2}, {"company": "ACME", "total": 1}) for i in range(30)]
    found = page(made({"tuned": Run(tuple(rows), (1.0,), 1.0)}, task=RECEIPT), RECEIPT)
    assert "Field by field" in found
    assert re.search(r'<th scope="row">total</th>.*50\.0%', found)
    assert "Confusions that matter" not in found


def test_the_smallest_reports_have_a_page() -> None:
    for rows in ([answered(0, {"kind": "leak"})], [answered(0, None)]):
        assert "measured alone" in page(made({"tuned": Run(tuple(rows), (1.0,), 1.0)}))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return sum(
        w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4)
        for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


def test_text_has_the_contrast_of_wcag_aa_in_both_themes() -> None:
    css = (Path(insource.measure.__file__).parent / "templates" / "report.css").read_text("utf-8")
    themes = re.findall(r":root \{([^}]*)\}", css)
    assert len(themes) == 3
    for theme in themes:
        colours = {name: value if len(value) == 7 else "#" + "".join(c * 2 for c in value[1:])
                   for name, value in re.findall(r"--(\w+):(#[0-9a-f]{3,6})[;\s]", theme)}  # fmt: skip
        for front in ("ink", "soft", "accent", "good", "bad"):
            for back in ("paper", "card", "tint"):
                light, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)


def test_an_axis_of_shares_ends_where_shares_do() -> None:
    near_none, near_all = charts.axis([0.0, 0.01, 0.72]), charts.axis([0.3, 0.999])
    assert (near_none.low, near_all.high) == (0.0, 1.0)
    assert charts.axis([-0.2, 0.1], zero=True).low < -0.2
