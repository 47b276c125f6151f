"""What people say of a call, and take back, in two stores between which calls are carried."""

import contextlib
import itertools
import time
from pathlib import Path

import pytest
from test_carry import called, held, lines, resealed, verdict, workspace

from insource.errors import Conflict
from insource.journeys.carry import give, take
from insource.nouns import Review, stamp
from insource.store import Store
from insource.store.carried import Taken


def word(name: str, who: str, verdict: str = "right") -> Review:
    return Review(record=name, verdict=verdict, reviewer=who, decided=stamp(time.time()))


@contextlib.asynccontextmanager
async def two_places(root: Path):
    """An edge, a home, and what carries all of the edge home; in the end both audit chains are whole."""
    async with await Store.open(workspace(root / "e")) as edge, await Store.open(workspace(root / "h")) as home:
        trips = itertools.count()

        async def carry(of: Store = edge, to: Store = home) -> Taken:
            await give(of, file := root / f"trip{next(trips)}")
            found = await take(to, file)
            again = await take(to, file)
            assert (again.records, again.reviews, again.opinions, again.withdrawn) == (0, 0, 0, 0)
            return found

        yield edge, home, carry
        for store in (edge, home):
            assert (await store.verify_chain()).faults == ()


async def test_the_word_of_one_of_two_comes_home_and_with_another_there_it_is_the_verdict(tmp_path):
    async with two_places(tmp_path) as (edge, home, carry):
        await called(edge, "r0", waits=True, eyes=2)
        await edge.settle(word("r0", "ann"))
        assert (await carry()).opinions == 1
        assert await held(home) == {"r0": (True, None)}
        with pytest.raises(Conflict, match="waits for the word of another than ann"):
            await home.settle(word("r0", "ann"))
        await home.settle(word("r0", "bob"))
        (settled,) = [review for _, review in await home.reviews("defects")]
        assert (settled.verdict, settled.agreed) == ("right", ("ann", "bob"))
        assert [one.reviewer for _, one in await home.opinions("defects")] == ["ann", "bob"]


async def test_one_word_here_and_one_there_settle_it_and_the_words_behind_a_verdict_come_with_it(tmp_path):
    async with two_places(tmp_path) as (edge, home, carry):
        await called(edge, "r0", waits=True, eyes=2)
        await called(edge, "r1", waits=True, eyes=2)
        await carry()
        await home.settle(word("r0", "bob", "wrong"))
        for one in (word("r0", "ann", "wrong"), word("r1", "ann"), word("r1", "eve")):
            await edge.settle(one)
        found = await carry()
        assert (found.opinions, found.reviews, found.differ) == (3, 2, ())
        agreed = {review.record: review.agreed for _, review in await home.reviews("defects")}
        assert agreed == {"r0": ("bob", "ann"), "r1": ("ann", "eve")}
        assert len(await home.opinions("defects")) == 4, "how far people agree is told from these"


async def test_what_was_taken_back_there_is_taken_back_here_before_and_after_it_came(tmp_path):
    async with two_places(tmp_path) as (edge, home, carry):
        await called(edge, "r0", waits=True)
        await called(edge, "r1", waits=True, eyes=2)
        for name in ("r0", "r1"):
            await edge.settle(word(name, "ann"))
            await edge.unsettle(name, "ann")
        await edge.settle(word("r0", "ann", "wrong"))
        found = await carry()
        assert (found.withdrawn, found.reviews, found.opinions) == (2, 1, 0)
        kinds = [one["kind"] for one in await home.chain_entries(0)]
        assert kinds == ["record", "review", "withdrawn", "review", "record", "opinion", "withdrawn"]
        await edge.unsettle("r0", "ann")
        found = await carry()
        assert (found.withdrawn, found.differ) == (1, ())
        assert await held(home) == {"r0": (True, None), "r1": (True, None)}


async def test_what_was_taken_back_here_does_not_come_again_and_another_s_verdict_here_stands(tmp_path):
    async with two_places(tmp_path) as (edge, home, carry):
        for name in ("r0", "r1"):
            await called(edge, name, waits=True)
            await edge.settle(word(name, "ann"))
        await carry()
        await home.unsettle("r0", "ann")
        assert (await carry()).reviews == 0
        assert (await held(home))["r0"] == (True, None)
        await home.let_go("ann")
        await home.settle(mine := word("r0", "bob", "wrong"))
        await edge.unsettle("r0", "ann")
        found = await carry()
        assert (found.withdrawn, (await held(home))["r0"]) == (0, (False, mine))


async def test_a_file_of_form_1_is_read(tmp_path):
    async with two_places(tmp_path) as (edge, home, _):
        await called(edge, "r0", waits=True)
        await edge.settle(verdict("r0", "there"))
        await give(edge, tmp_path / "f")
        first, call, last = lines(tmp_path / "f")
        assert b"opinions" not in call
        (tmp_path / "old").write_bytes(resealed([first.replace(b'"form":2', b'"form":1'), call, last]))
        assert (await take(home, tmp_path / "old")).reviews == 1
