"""What is said of declared slices is what their rows give: the largest gap corrected, the small ones left unsaid."""

import msgspec
import pytest
from test_govern import facts_of

from insource.govern.bias import bias, largest
from insource.govern.evidence import Found, Gap
from insource.nouns import Score
from insource.stats import share_difference, wilson


def scored(slice: str, right: int, n: int) -> Score:
    low, high = wilson(right, n)
    return Score(metric="accuracy", slice=slice, value=right / n, low=low, high=high, n=n)


async def about(settings, scores: list[Score], *, wanted=("shift",), rows=None) -> Found | Gap:
    whole = await facts_of(settings)
    mine = msgspec.structs.replace(whole.candidate, scores=tuple(scores))
    governing = msgspec.structs.replace(whole.configured.governing, slices=wanted)
    return bias(
        msgspec.structs.replace(
            whole,
            report=msgspec.structs.replace(whole.report, candidates=(mine,)),
            configured=msgspec.structs.replace(whole.configured, governing=governing),
            rows=msgspec.structs.replace(whole.rows, slices=rows if rows is not None else whole.rows.slices),
        )
    )


async def test_of_real_rows_every_slice_is_in_the_report_or_said_to_be_too_few(settings):
    whole = await facts_of(settings)
    found = bias(whole)
    lines = {row[0]: row for row in found.table.rows}
    assert set(lines) == {f"shift={value}" for value in whole.rows.slices["shift"]}
    assert lines["shift=sunday"][2:] == ("not said", "", "too few: 20 are wanted")
    for value in ("day", "night"):
        score = whole.candidate.score("accuracy", f"shift={value}")
        assert lines[f"shift={value}"][1:3] == (f"{whole.rows.slices['shift'][value]:,}", f"{score.value:.1%}")
    assert "The largest gap is shift=night behind shift=day" in found.words


async def test_the_largest_gap_of_all_pairs_is_told_with_the_interval_of_all_pairs(settings):
    scores = [scored("shift=a", 90, 100), scored("shift=b", 85, 100), scored("shift=c", 60, 100)]
    found = await about(settings, scores, rows={"shift": {"a": 100, "b": 100, "c": 100}})
    _, low, high = share_difference(60, 100, 90, 100, 1 - 0.05 / 3)
    expected = f"shift=c behind shift=a: -30.0 points ({low * 100:+.1f} to {high * 100:+.1f}, corrected for 3 pairs)"
    assert found.words == f"The largest gap is {expected}. That is more than luck."
    assert [row[0] for row in found.table.rows] == ["shift=a", "shift=b", "shift=c"]


async def test_where_luck_does_as_much_the_words_say_what_would_not_have_been_seen(settings):
    scores = [scored("shift=a", 45, 50), scored("shift=b", 41, 50)]
    found = await about(settings, scores, rows={"shift": {"a": 50, "b": 50}})
    value, _, high = share_difference(41, 50, 45, 50)
    unseen = f"a gap of less than about {(high - value) * 100:.1f} points would not show in so few rows."
    assert found.words.endswith(f"Luck does as much; {unseen}")
    assert "corrected" not in found.words, "one pair needs no correction"


def test_two_tags_share_the_correction():
    scores = {one.slice: one for one in [
        scored("x=1", 80, 100), scored("x=2", 70, 100), scored("y=1", 80, 100), scored("y=2", 70, 100),
    ]}  # fmt: skip
    first, second = largest(scores, ("x", "y"))
    assert (first.compared, second.compared) == (2, 2)
    assert (first.low, first.high) == share_difference(70, 100, 80, 100, 1 - 0.05 / 2)[1:]


@pytest.mark.parametrize(
    ("scores", "wanted", "rows", "why"),
    [
        ([scored("shift=a", 9, 10)], (), {}, "no slices are declared"),
        ([scored("shift=a", 9, 10)], ("site",), {"shift": {"a": 10}}, "no test row carries the tag site"),
        ([scored("shift=a", 9, 30)], ("shift",), {"shift": {"a": 30, "b": 4}}, "fewer than two slices of shift"),
        ([], ("shift",), {"shift": {"a": 9, "b": 4}}, "fewer than two slices of shift"),
    ],
)  # fmt: skip
async def test_what_cannot_be_said_is_missing_with_what_fills_it(settings, scores, wanted, rows, why):
    found = await about(settings, scores, wanted=wanted, rows=rows)
    assert isinstance(found, Gap)
    assert why in found.why
    assert found.fill
