"""The demo's reports are what their docstring says they are."""

from collections import Counter

import pytest

from insource.journeys import demo_reports
from insource.journeys.demo_reports import DefectReport, ambiguous, defect_reports, labels, load_words

ROWS = 4000


@pytest.fixture(scope="module")
def reports() -> list[DefectReport]:
    return defect_reports(ROWS)


def test_the_same_seed_gives_the_same_reports_and_another_seed_others(reports: list[DefectReport]) -> None:
    assert defect_reports(200) == reports[:200]
    assert defect_reports(200, seed=1) != reports[:200]


def test_labels_are_from_closed_sets_and_all_of_them_occur(reports: list[DefectReport]) -> None:
    for field in demo_reports.FIELDS:
        found = {getattr(report, field) for report in reports} - {""}
        assert found == set(labels(field))
    assert len(labels("category")) == 14
    assert len(labels("cause")) == 8


def test_about_a_sixth_of_them_are_ambiguous() -> None:
    assert 1 / 7 < ambiguous(load_words()) < 1 / 5


def test_the_words_use_only_labels_that_exist() -> None:
    words = load_words()
    for group in words["group"]:
        assert set(group["is"]) <= set(words["label"]["category"])
        assert set(group["why"]) <= set(words["label"]["cause"])
        assert len(group["urgent"]) == len(words["label"]["urgency"])
        assert len(group["say"]) >= 5
    assert set(words["hint"]) == set(words["label"]["cause"])
    assert set(words["press"]) == set(words["label"]["urgency"]) == set(demo_reports.URGENCIES)


def test_some_are_unfinished_and_some_were_sent_twice(reports: list[DefectReport]) -> None:
    unfinished = sum("" in (r.report, r.category, r.cause, r.urgency) for r in reports)
    assert 0.001 * ROWS < unfinished < 0.006 * ROWS
    beginnings = Counter(" ".join(report.report.split()[:6]) for report in reports if report.report)
    assert sum(times - 1 for times in beginnings.values()) > 0.01 * ROWS


def test_no_slot_of_a_phrase_is_left_open(reports: list[DefectReport]) -> None:
    assert not [report.report for report in reports if "{" in report.report or "}" in report.report]


def test_they_are_short_and_long_in_every_casing(reports: list[DefectReport]) -> None:
    lengths = sorted(len(report.report.split()) for report in reports)
    assert lengths[ROWS // 20] <= 6
    assert lengths[ROWS // 2] in range(8, 20)
    assert lengths[-1] > 30
    texts = [report.report for report in reports if report.report]
    for casing in (str.isupper, str.islower, lambda text: text[0].isupper()):
        assert sum(map(casing, texts)) > 0.03 * ROWS


def test_urgency_depends_on_what_was_seen_without_following_from_it(reports: list[DefectReport]) -> None:
    share = {
        kind: sum(r.urgency == "high" for r in reports if r.category == kind) / sum(r.category == kind for r in reports)
        for kind in ("tool changer", "surface")
    }
    assert 0.4 < share["tool changer"] < 0.8
    assert 0.02 < share["surface"] < 0.3
