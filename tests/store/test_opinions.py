"""What people say and take back, and items that two have to see: the queue, the verdict and the audit trail."""

import asyncio
import contextlib
import random
from datetime import UTC, datetime, timedelta

import pytest
from test_leases import item, record, settings  # noqa: F401 - a fixture

from behind import behind
from insource.errors import Conflict, Missing
from insource.journeys import review as journey
from insource.nouns import Pending, Review, Task, agreed
from insource.store import Store


def said(i: int, who: str, verdict: str = "right", corrected=None, *, ago_s: float = 0.0) -> Review:
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    return Review(
        record=f"{i:032x}", verdict=verdict, corrected=corrected, reviewer=who, decided=at.isoformat(timespec="seconds")
    )


def twice(i: int) -> Pending:
    return Pending(record=f"{i:032x}", task="t", input=f"text {i}", value={"a": "b"}, eyes=2)


async def whole(store: Store) -> bool:
    return (await store.verify_chain()).faults == ()


async def test_what_was_taken_back_waits_again_held_by_the_same_person_and_stays_on_the_audit_trail(settings):  # noqa: F811
    async with await Store.open(settings) as store:
        await store.append(record(0), item(0))
        await store.settle(said(0, "ann"))
        back = await journey.undo(Task(name="t", kind="generate"), store, f"{0:032x}", "ann")
        assert back.input == "text 0"
        assert [one.input for one in await store.pending("t")] == ["text 0"]
        assert await store.lease("t", "bob", 9, 60) == []
        assert await store.reviews("t") == []
        assert await whole(store)
        await store.settle(said(0, "ann", "wrong"))
        assert [review.verdict for _, review in await store.reviews("t")] == ["wrong"]
        assert await whole(store)
        entries = [one for one in await store.chain_entries(0) if one["kind"] in ("review", "withdrawn")]
        assert [one["kind"] for one in entries] == ["review", "withdrawn", "review"]
        assert '"verdict":"right"' in entries[0]["row"]
        assert '"verdict":"wrong"' in entries[2]["row"]


async def test_only_ones_own_word_of_a_while_ago_can_be_taken_back(settings):  # noqa: F811
    async with await Store.open(settings) as store:
        for i in range(3):
            await store.append(record(i), item(i))
        await store.settle(said(0, "ann"))
        await store.settle(said(1, "ann", ago_s=1000))
        task = Task(name="t", kind="generate")
        for i, who, why in [(0, "bob", "settled by ann"), (1, "ann", "too long ago"), (2, "ann", "said nothing")]:
            with pytest.raises(Conflict, match=why):
                await journey.undo(task, store, f"{i:032x}", who)
        with pytest.raises(Missing):
            await journey.undo(task, store, "no such record", "ann")
        with pytest.raises(Missing, match="no answer of other"):
            await journey.undo(Task(name="other", kind="generate"), store, f"{0:032x}", "ann")
        assert len(await store.reviews("t")) == 2
        assert await whole(store)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE entry SET body = replace(body, 'right', 'wrong') WHERE kind = 'withdrawn'", "changed"),
        ("DELETE FROM entry WHERE kind = 'withdrawn'", "gone"),
        ("INSERT INTO review SELECT 9, record, 't', body FROM pending WHERE record LIKE '%0'", "is there"),
        ("UPDATE opinion SET body = replace(body, 'right', 'wrong')", "changed"),
        ("DELETE FROM opinion", "gone"),
        ("UPDATE opinion SET task = 'other'", "record's"),
        ("INSERT INTO opinion SELECT 9, 'x', record, task, body FROM opinion", "beside the chain"),
    ],
)
async def test_who_changes_what_was_said_is_found(settings, change, what):  # noqa: F811
    async with await Store.open(settings) as store:
        await store.append(record(0), item(0))
        await store.append(record(1), twice(1))
        await store.settle(said(0, "ann"))
        await store.unsettle(f"{0:032x}", "ann")
        await store.settle(said(1, "ann"))
        assert await whole(store)
    with behind(settings.root) as db:
        db.execute(change)
    async with await Store.open(settings) as store:
        assert any(what in fault.what for fault in (await store.verify_chain()).faults)


def test_two_who_agree_decide_and_a_third_where_they_do_not():
    a, b = said(0, "ann"), said(0, "bob", "wrong", {"a": "c"})
    assert agreed([]) is None
    assert agreed([a]) is None
    assert agreed([a, b]) is None
    same = agreed([a, said(0, "bob")])
    assert (same.verdict, same.agreed) == ("right", ("ann", "bob"))
    third = agreed([a, b, said(0, "cem", "wrong", {"a": "c"})])
    assert (third.verdict, third.corrected, third.agreed) == ("wrong", {"a": "c"}, ("bob", "cem"))
    none = agreed([a, b, said(0, "cem", "wrong", {"a": "d"})])
    assert (none.verdict, none.corrected, none.agreed) == ("unsure", None, ())


async def test_an_item_for_two_is_never_shown_to_the_same_person_again_and_settled_by_the_third(settings):  # noqa: F811
    async with await Store.open(settings) as store:
        await store.append(record(0), twice(0))
        for who, verdict in [("ann", "right"), ("bob", "wrong")]:
            assert len(await store.lease("t", who, 9, 60)) == 1
            await store.settle(said(0, who, verdict))
            assert await store.lease("t", who, 9, 60) == []
            assert len(await store.pending("t")) == 1
            with pytest.raises(Conflict, match="another than"):
                await store.settle(said(0, who, verdict))
        assert await store.reviews("t") == []
        await store.unsettle(f"{0:032x}", "bob")
        assert len(await store.lease("t", "bob", 9, 60)) == 1
        await store.settle(said(0, "bob", "wrong"))
        await store.settle(said(0, "cem", "right"))
        ((_, verdict),) = await store.reviews("t")
        assert (verdict.verdict, verdict.agreed) == ("right", ("ann", "cem"))
        with pytest.raises(Conflict, match="settled by cem"):
            await store.unsettle(f"{0:032x}", "ann")
        await store.unsettle(f"{0:032x}", "cem")
        await store.let_go("cem")
        assert len(await store.pending("t")) == 1
        await store.settle(said(0, "dee", "wrong"))
        ((_, verdict),) = await store.reviews("t")
        assert (verdict.verdict, verdict.agreed) == ("wrong", ("bob", "dee"))
        assert [one.reviewer for _, one in await store.opinions("t")] == ["ann", "bob", "dee"]
        assert await whole(store)


async def test_what_is_old_goes_with_its_words_and_a_word_on_what_waits_stays(settings):  # noqa: F811
    async with await Store.open(settings) as store:
        for i in range(3):
            await store.append(record(i), twice(i))
        for who in ("ann", "bob"):
            await store.settle(said(0, who))
        await store.settle(said(1, "ann"))
        await store.unsettle(f"{1:032x}", "ann")
        await store.settle(said(1, "ann", "wrong"))
        await store.settle(said(2, "ann"))
        await store.unsettle(f"{2:032x}", "ann")
        await store.append(record(3), item(3))
        await store.settle(said(3, "ann"))
        assert (await store.prune("2999", 0)).records == 2
        assert await whole(store)
        assert [(one.record, one.verdict) for _, one in await store.opinions("t")] == [(f"{1:032x}", "wrong")]
        await store.settle(said(1, "bob", "wrong"))
        await store.settle(said(2, "ann"))
        assert [review.record for _, review in await store.reviews("t")] == [f"{1:032x}"]
        assert len(await store.pending("t")) == 1
        assert await whole(store)


async def test_people_who_change_their_minds_leave_a_chain_that_holds(settings):  # noqa: F811
    dice = random.Random(5)  # noqa: S311
    async with await Store.open(settings) as store:
        for i in range(6):
            await store.append(record(i), twice(i) if i % 2 else item(i))
        for step in range(200):
            i, who = dice.randrange(6), dice.choice("abcd")
            with contextlib.suppress(Conflict):
                if dice.random() < 0.5:
                    await store.settle(said(i, who, dice.choice(["right", "wrong"])))
                else:
                    await store.unsettle(f"{i:032x}", who)
            await store.let_go(who)
            if step % 20 == 0:
                assert await whole(store)
        settled, waiting = len(await store.reviews("t")), len(await store.pending("t"))
        assert settled + waiting == 6
        assert await whole(store)


async def test_of_eight_people_no_two_hold_the_same_item_for_two_at_once(settings):  # noqa: F811
    async with await Store.open(settings) as store:
        for i in range(60):
            await store.append(record(i), twice(i))
        held: dict[str, str] = {}

        async def person(name: str, dice: random.Random) -> None:
            while True:
                mine = await store.lease("t", name, dice.randint(1, 4), 60)
                if not mine and not await store.pending("t", 1):
                    return
                for one in mine:
                    assert held.setdefault(one.record, name) == name, "held by two"
                await asyncio.sleep(0)
                for one in mine:
                    verdict = dice.choice(["right", "right", "wrong"])
                    await store.settle(Review(record=one.record, verdict=verdict, reviewer=name))
                    del held[one.record]

        await asyncio.gather(*[person(f"p{i}", random.Random(i)) for i in range(8)])  # noqa: S311
        words = [word for _, word in await store.opinions("t")]
        assert len(await store.reviews("t")) == 60
        assert len({(one.record, one.reviewer) for one in words}) == len(words) >= 120
        assert await whole(store)
