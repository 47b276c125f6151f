"""Reviewing by keys: one key settles an answer and shows the next."""

import pytest

from insource.cli.review_keys import Desk
from insource.nouns import Output, Pending, Record, Task
from insource.settings import Settings
from insource.store import Store

ONE = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("alpha", "beta", "gamma")),))
TWO = Task(
    name="t", kind="classify", outputs=(Output(name="x", labels=("a", "b")), Output(name="y", labels=("lo", "hi")))
)
FORM = Task(
    name="t",
    kind="extract",
    schema={"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]},
)


async def waits(store: Store, id: str, value) -> None:
    record = Record(
        id=id, task="t", release=None, tenant="local", attempts=(), outcome="review", input_hash="", latency_ms=1
    )
    await store.append(record, Pending(record=id, task="t", input=f"text of {id}", value=value, reason="unsure"))


class Person:
    """Types `keys`, answers questions with `lines`, and remembers what was shown."""

    def __init__(self, keys: str, lines=()):
        self.keys, self.lines, self.seen = iter(keys), iter(lines), []

    def key(self) -> str:
        try:
            return next(self.keys)
        except StopIteration:
            raise EOFError from None

    def desk(self, task, store) -> Desk:
        return Desk(task, store, "me", say=self.seen.append, key=self.key, line=lambda _: next(self.lines))


async def test_what_would_steer_the_terminal_is_spelled_out(tmp_path):
    async with await Store.open(Settings(root=tmp_path, cache=tmp_path)) as store:
        await waits(store, "\x1b]0;x\x07 \u202e", {"label": "alpha"})
        person = Person("q")
        await person.desk(ONE, store).work()
    shown = "".join(person.seen)
    assert "\\x1b]0;x\\x07 \\u202e" in shown
    assert not {"\x07", "\u202e"} & set(shown)


async def settled(tmp_path, task, values, keys, lines=()):
    """What the reviews say after `keys` were typed: record → (verdict, correction); and what was shown."""
    async with await Store.open(Settings(root=tmp_path, cache=tmp_path)) as store:
        for number, value in enumerate(values, 1):
            await waits(store, f"r{number}", value)
        person = Person(keys, lines)
        count = await person.desk(task, store).work()
        reviews = {review.record: (review.verdict, review.corrected) for _, review in await store.reviews("t")}
        assert count == len(reviews)
        return reviews, "\n".join(str(line) for line in person.seen)


A, B = {"label": "alpha"}, {"label": "beta"}


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ("1", {"r1": ("right", None)}),
        ("2", {"r1": ("wrong", {"label": "beta"})}),
        ("x", {"r1": ("wrong", None)}),
        ("?", {"r1": ("unsure", None)}),
        ("11", {"r1": ("right", None), "r2": ("right", None)}),
        ("1u2q", {"r1": ("wrong", {"label": "beta"})}),
        ("11u2", {"r1": ("right", None), "r2": ("wrong", {"label": "alpha"})}),
        ("11uu2q", {"r1": ("wrong", {"label": "beta"})}),
        ("s1", {"r2": ("right", None)}),
        ("u1q", {"r1": ("right", None)}),
        ("9z1q", {"r1": ("right", None)}),
        ("q", {}),
        ("", {}),
    ],
)
async def test_keys_settle_skip_undo_and_quit(tmp_path, keys, wanted):
    reviews, _ = await settled(tmp_path, ONE, [A, B], keys)
    assert reviews == wanted


async def test_what_is_shown_names_the_text_the_reason_and_the_keys(tmp_path):
    _, seen = await settled(tmp_path, ONE, [B], "q")
    assert "text of r1" in seen
    assert "unsure" in seen
    assert "1 beta" in seen
    assert "u undo" in seen
    assert "nothing of t waits" in (await settled(tmp_path / "empty", ONE, [], ""))[1]


async def test_a_label_is_typed_in_part_when_only_one_fits(tmp_path):
    reviews, seen = await settled(tmp_path, ONE, [A], "tttq", ["zzz", "a", "GAM"])
    assert reviews == {"r1": ("wrong", {"label": "gamma"})}
    assert "no such label" in seen
    assert "several" in seen


async def test_none_of_these_asks_which_label_is_missing(tmp_path):
    reviews, _ = await settled(tmp_path, ONE, [A, A], "n1q", ["cooling"])
    assert reviews == {"r1": ("none_of_these", None), "r2": ("right", None)}
    async with await Store.open(Settings(root=tmp_path, cache=tmp_path)) as store:
        assert (await store.reviews("t"))[0][1].note == "cooling"
    assert "y right" in (await settled(tmp_path / "form", FORM, [{"total": 1.0}], "nq"))[1]


async def test_several_outputs_are_asked_one_after_the_other(tmp_path):
    reviews, _ = await settled(tmp_path, TWO, [{"x": "a", "y": "lo"}] * 2, "1112")
    assert reviews == {"r1": ("right", None), "r2": ("wrong", {"x": "a", "y": "hi"})}


async def test_free_values_are_right_or_typed_and_a_wrong_one_is_refused(tmp_path):
    reviews, seen = await settled(tmp_path, FORM, [{"total": 1.0}] * 2, "ytt", ["total=lots", "total=12.5"])
    assert reviews == {"r1": ("right", None), "r2": ("wrong", {"total": 12.5})}
    assert "no answer of t" in seen


async def test_nothing_proposed_is_settled_by_a_choice(tmp_path):
    reviews, _ = await settled(tmp_path, ONE, [None], "3")
    assert reviews == {"r1": ("wrong", {"label": "gamma"})}
