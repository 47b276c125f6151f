"""What the check finds, how grave it calls it, and the page that tells it."""

import random
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from insource.collect.check import News, check
from insource.collect.findings import Finding, Rows, cut, share, verdict
from insource.collect.page import Sheet, page
from insource.collect.split import Moved, merge, with_groups, with_splits
from insource.collect.suspects import doubted, suspicions
from insource.nouns import Dataset, Example, Output, Task, digest
from insource.nouns.visible import STEERING

LABELS = ("refund", "status", "cancel")
TASK = Task(name="tickets", kind="classify", outputs=(Output(name="intent", labels=LABELS),))
WORDS = {
    "refund": ("money", "back", "refund", "reimburse", "paid", "charge"),
    "status": ("where", "parcel", "delivery", "track", "shipped", "late"),
    "cancel": ("cancel", "stop", "withdraw", "order", "abort", "undo"),
}
NEWS = News(rows=Rows(read=0, kept=0, rejected=0, duplicates=0))


def row(text: str, label: str, split: str = "") -> Example:
    target = {"intent": label}
    return Example(id=Example.identity("tickets", text, target), task="tickets", input=text, target=target, split=split)


def good(count: int) -> list[Example]:
    chance = random.Random(5)  # noqa: S311 - a test that repeats
    made = []
    for i in range(count):
        label = LABELS[i % 3]
        words = [*chance.choices(WORDS[label], k=6), f"{digest(str(i))[:12]}", f"{digest(str(-i))[:12]}"]
        made.append(row(" ".join(words), label))
    return made


def found(*given: Example, news: News = NEWS, task: Task = TASK) -> dict[str, Finding]:
    rows = with_splits(task, with_groups(merge([], given).rows))
    return {finding.kind: finding for finding in check(task, rows, news)}


def test_good_data_is_ready_and_only_told_that_more_is_better() -> None:
    findings = found(*good(900))
    assert {kind: finding.severity for kind, finding in findings.items()} == {"few-rows": "note"}
    assert verdict(list(findings.values())) == "ready"


def test_fewer_than_500_rows_are_not_ready() -> None:
    finding = found(*good(300))["few-rows"]
    assert (finding.severity, finding.count) == ("serious", 300)
    assert "200 more" in finding.do


def test_contradictions_are_shown_with_both_answers() -> None:
    finding = found(*good(900), row("Where is it?", "status"), row("where IS it", "cancel"))["contradictions"]
    assert (finding.severity, finding.count) == ("care", 2)
    assert finding.examples[0]["targets"] in ("status (1); cancel (1)", "cancel (1); status (1)")


def test_texts_that_differ_in_a_number_do_not_contradict() -> None:
    assert "contradictions" not in found(*good(600), row("error code 5", "status"), row("error code 7", "cancel"))


def test_leaks_between_forced_splits_are_counted_with_those_that_say_the_same_word_for_word() -> None:
    test = [row("please give me all my money back now", "refund", "test"), row("Cancel that!", "cancel", "test")]
    train = [row("please give me all my money back now!!", "refund", "train"), row("cancel that", "cancel", "train")]
    many = [row(one.input, str(one.target["intent"]), "train") for one in good(600)]
    plenty = [row(f"{one.input} xx", str(one.target["intent"]), "test") for one in good(700)[600:]]
    finding = found(*many, *plenty, *train, *test)["leaks"]
    assert (finding.count, finding.severity) == (2, "care")
    assert "2 the same text" in finding.message
    assert {example["split"] for example in finding.examples} == {"test"}
    assert found(*many, *train, *test)["leaks"].severity == "serious"


def test_a_row_given_in_two_splits_is_a_leak_that_was_undone() -> None:
    rows = with_splits(TASK, with_groups(good(600)))
    news = News(rows=NEWS.rows, moved=(Moved(id=rows[0].id, kept="test", dropped="train"),))
    finding = next(one for one in check(TASK, rows, news) if one.kind == "leaks")
    assert (finding.count, finding.examples[0]["text"]) == (1, rows[0].input)


def test_labels_that_were_filed_wrongly_are_suspected_and_the_right_one_is_suggested() -> None:
    rows = good(900)
    wrong = {row.id: str(row.target["intent"]) for row in rows[:45]}
    moved = [row(one.input, LABELS[(i + 1) % 3], "train") for i, one in enumerate(rows[:45])]
    kept = [row(one.input, str(one.target["intent"]), "train") for one in rows[45:]]
    [suspicion] = suspicions(TASK, with_groups([*moved, *kept]))
    truth = dict(zip((one.id for one in moved), wrong.values(), strict=True))
    hits = [one for one in suspicion.suspects if truth.get(one.id) == one.suggested]
    assert len(hits) >= 40
    assert len(suspicion.suspects) <= 50
    assert suspicion.accuracy > 0.9


def test_a_copy_of_a_wrong_label_does_not_vouch_for_it() -> None:
    rows = [row(one.input, str(one.target["intent"]), "train") for one in good(600)]
    copies = [
        row(f"money back refund reimburse paid charge {digest('x')[:12]}{'!' * i}", "status", "train") for i in range(9)
    ]
    [together] = suspicions(TASK, with_groups([*rows, *copies]))
    [apart] = suspicions(TASK, [*rows, *copies])
    wrong = {one.id for one in copies}
    assert wrong <= {one.id for one in together.suspects}
    assert not wrong & {one.id for one in apart.suspects}


def test_the_rule_of_confident_learning_by_hand() -> None:
    likely = np.array([[0.9, 0.1], [0.8, 0.2], [0.85, 0.15], [0.1, 0.9], [0.9, 0.1]], dtype=np.float32)
    given = np.array([0, 0, 0, 1, 1])
    assert list(doubted(likely, given)) == [(4, 0)]


def test_spellings_of_one_label_are_found() -> None:
    labels = ("Grease Line", "GREASE LINE", "grease-line", "Bucket")
    task = Task(name="tickets", kind="classify", outputs=(Output(name="intent", labels=labels),))
    rows = [row(f"{digest(str(i))} {digest(str(-i))}", labels[i % 4]) for i in range(600)]
    finding = found(*rows, task=task)["label-variants"]
    assert finding.count == 3
    assert "Grease Line" in str(finding.examples[0])


def test_rare_and_unseen_labels_and_imbalance_are_named() -> None:
    labels = (*LABELS, "ghost", "rare")
    task = Task(name="tickets", kind="classify", outputs=(Output(name="intent", labels=labels),))
    rows = [row(one.input, "refund" if i % 4 else str(one.target["intent"])) for i, one in enumerate(good(900))]
    findings = found(*rows, row("a rare one", "rare"), task=task)
    assert findings["unseen-labels"].examples[0]["label"] == "ghost"
    assert findings["rare-labels"].examples[0] == {"label": "rare", "train rows": 1}
    assert findings["imbalance"].severity == "care"


def test_long_and_wordless_inputs_are_named() -> None:
    findings = found(*good(600), row("word " * 3000, "refund"), row("?!…", "status"))
    assert findings["long"].examples[0]["characters"] == 15_000
    assert len(str(findings["long"].examples[0]["text"])) <= 241
    assert findings["wordless"].count == 1


def test_rejected_rows_are_grave_when_they_are_many() -> None:
    kinds = {"unknown label": 3, "not UTF-8": 1}
    few = News(rows=Rows(read=1000, kept=996, rejected=4, duplicates=0), reject_kinds=kinds)
    many = News(rows=Rows(read=30, kept=26, rejected=4, duplicates=0), reject_kinds=kinds)
    assert found(*good(600), news=few)["rejected"].severity == "care"
    finding = found(*good(600), news=many)["rejected"]
    assert finding.severity == "serious"
    assert "unknown label: 3; not UTF-8: 1" in finding.message
    assert "iconv" in finding.do


def test_missing_splits_are_said_with_what_they_stop() -> None:
    rows = [row(one.input, str(one.target["intent"]), "test") for one in good(600)]
    finding = found(*rows)["splits"]
    assert finding.severity == "serious"
    assert "Nothing can be learned" in finding.do


@pytest.mark.parametrize(
    ("part", "whole", "said"), [(0, 9, "0.0%"), (1, 9999, "under 0.1%"), (5, 100, "5.0%"), (1, 2, "50%")]
)
def test_shares_read_well(part: int, whole: int, said: str) -> None:
    assert share(part, whole) == said


def test_cells_are_cut_on_one_line() -> None:
    assert cut("a\n b  c") == "a b c"
    assert len(cut("x" * 10_000_000)) == 241


class Tags(HTMLParser):
    """Which tags a page opens and closes, and what it points to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def sheet(*given: Example, task: Task = TASK) -> str:
    rows = with_splits(task, with_groups(merge([], given).rows))
    lineage = (
        {"file": "<b>.csv", "sha256": "ab" * 32, "read": 9, "kept": 9, "rejected": 0, "columns": {"input": "t"}},
    )
    counted = {split: sum(one.split == split for one in rows) for split in ("train", "dev", "test")}
    dataset = Dataset(id="cd" * 32, task=task.name, counts=counted, lineage=lineage, created="2026-01-01")
    return page(Sheet(task=task, dataset=dataset, rows=tuple(rows), tally=NEWS.rows, findings=check(task, rows, NEWS)))


def test_the_page_escapes_the_data_and_asks_nothing_of_any_network() -> None:
    evil = '<script>alert(1)</script><img src="http://x.example/p.png">\x1b[31m\u202e'
    html = sheet(*good(600), row(evil + " a", "refund"), row(evil + " A", "status"), row("-- " + evil + " b", "cancel"))
    tags = Tags()
    tags.feed(html)
    assert "<script" not in html
    assert not STEERING.search(html)
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;.csv" in html
    assert not tags.wrong
    assert not tags.open
    assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in tags.seen}
    assert not any(name in attrs for _, attrs in tags.seen for name in ("src", "href", "style-src"))
    assert "url(" not in html
    assert "@import" not in html


def test_the_page_begins_with_its_verdict_and_names_every_picture() -> None:
    html = sheet(*good(300))
    main = html[html.index("<main>") :]
    assert re.search(r"<h1[^>]*>Not ready</h1>", main)
    assert main.index("<h1") < main.index("What was found")
    tags = Tags()
    tags.feed(html)
    for tag, attrs in tags.seen:
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or (attrs.get("role") == "img" and attrs.get("aria-label"))
    headings = [int(tag[1]) for tag, _ in tags.seen if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


@pytest.mark.slow
def test_a_page_of_thousands_of_labels_and_giant_cells_stays_small() -> None:
    labels = tuple(f"{'Part' * 30} / {i:04}" for i in range(2200))
    task = Task(name="tickets", kind="classify", outputs=(Output(name="intent", labels=labels),))
    rows = [
        row(f"{digest(str(i))} " + "long " * (40_000 if i % 100 == 0 else 3), labels[i % 2200]) for i in range(2400)
    ]
    assert len(sheet(*rows, task=task).encode()) < 2_000_000


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_page_of_hardly_any_rows_is_drawn(size: int) -> None:
    assert "<h1" in sheet(*good(600)[:size])


def colours(html: str, scheme: str) -> dict[str, str]:
    start = html.index("prefers-color-scheme: dark") if scheme == "dark" else html.index(":root")
    return dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", html[start : html.index("}", html.index("--p3", start))]))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_have_the_contrast_of_wcag_aa(scheme: str) -> None:
    found = colours(sheet(*good(300)), scheme)
    for paper in ("paper", "card"):
        for name, least in [("ink", 7), ("soft", 4.5), ("serious", 4.5), ("care", 4.5), ("note", 4.5), ("ready", 4.5),
                            ("p0", 3), ("p1", 3), ("p2", 3), ("p3", 3)]:  # fmt: skip
            light, dark = sorted((luminance(found[name]), luminance(found[paper])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, (scheme, name, paper)
