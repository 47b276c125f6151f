"""What calls took is summed as it would be counted, each call once, whoever adds it up, and kept when calls go."""

import asyncio
import contextlib
import itertools
import random
from datetime import UTC, datetime, timedelta

import msgspec
from test_store import record, settings

from insource.journeys import audit
from insource.store import Store
from insource.store import tally as tallies

START = datetime(2026, 11, 1, 22, 10, tzinfo=UTC)
BY = ("task", "tenant", "release", "engine", "day")


def calls(count: int):
    """Calls some minutes apart, of several tasks, tenants and outcomes."""
    chance = random.Random(3)  # noqa: S311 - made-up rows, not secrets
    found = []
    for i in range(count):
        outcome = chance.choice(("answered", "review", "failed"))
        made = record(f"c{i:03}", outcome=outcome, task=chance.choice(("a", "b", None)))
        at = (START + timedelta(minutes=7 * i)).isoformat(timespec="milliseconds")
        found.append(msgspec.structs.replace(made, created=at, tenant=chance.choice(("x", "y")), usd=i / 8))
    return found


def counted(records, by: str, since: str = "") -> dict[str, tuple[int, int, int, int, float]]:
    """The same, call by call."""
    found: dict[str, tuple[int, int, int, int, float]] = {}
    for one in records:
        names = {"task": one.task, "tenant": one.tenant, "release": one.release, "day": one.created[:10], "engine": "e"}
        if one.created < since:
            continue
        usd = one.attempts[0].usd if by == "engine" else one.usd
        failed = one.outcome == "failed" and by != "engine"
        review = one.outcome == "review" and by != "engine"
        more = (1, failed, review, 3, usd)
        name = names[by] or "-"
        found[name] = tuple(map(sum, zip(found.get(name, (0,) * 5), more, strict=True)))  # type: ignore[assignment]
    return found


def keeping(root, **audit):
    """Settings by which calls go that are too old or too many."""
    made = settings(root)
    return msgspec.structs.replace(made, audit=msgspec.structs.replace(made.audit, **audit))


async def told(store: Store, by: str, since: str = "") -> dict[str, tuple[int, int, int, int, float]]:
    return {
        one.name: (one.calls, one.failed, one.review, one.input_tokens, one.usd)
        for one in await audit.usage(store, by=by, since=since)
    }


def test_sums_are_those_of_the_calls_from_any_time_on(tmp_path, monkeypatch):
    monkeypatch.setattr(tallies, "PART", 7)
    made = calls(60)

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            for some in itertools.zip_longest(*[iter(made)] * 25):
                await asyncio.gather(*[store.append(one) for one in some if one])
                await store.tally.fold()
            for by in BY:
                assert await told(store, by) == counted(made, by)
                for since in ("2026-11-02", "2026-11-02T01:00", "2026-11-02T01:17", "2026-11-02T02:17:30+01:00"):
                    moment = datetime.fromisoformat(since)
                    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
                    assert await told(store, by, since) == counted(made, by, moment.isoformat(timespec="milliseconds"))

    asyncio.run(story())


def test_two_that_add_up_at_once_count_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(tallies, "PART", 3)
    made = calls(60)

    async def story():
        async with await Store.open(settings(tmp_path)) as one, await Store.open(settings(tmp_path)) as other:
            await asyncio.gather(*[one.append(each) for each in made])
            await asyncio.gather(*[store.tally.fold() for store in (one, other, one, other)])
            assert await told(other, "task") == counted(made, "task")

    asyncio.run(story())


def test_one_that_is_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(tallies, "PART", 5)
    made = calls(40)

    def stop(what: str, done: int, total: int) -> None:
        assert (what, total) == ("adding up calls", 40)
        if done >= 20:
            raise KeyboardInterrupt

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await asyncio.gather(*[store.append(each) for each in made])
            with contextlib.suppress(KeyboardInterrupt):
                await store.tally.fold(stop)
            assert sum(one.calls for one in await store.tally.used("task", None)) == 20
            assert await told(store, "tenant") == counted(made, "tenant")

    asyncio.run(story())


def test_what_went_by_age_was_spent_all_the_same(tmp_path):
    made = calls(30)

    async def story():
        kept = keeping(tmp_path, keep_calls=10)
        async with await Store.open(kept) as store:
            await asyncio.gather(*[store.append(each) for each in made])
            await audit.checkpoint(kept, store)
            assert await audit.prune(kept, store) == 20
            assert len(await store.records()) == 10
            assert await told(store, "task") == counted(made, "task")

    asyncio.run(story())


def test_calls_after_a_time_in_which_all_went_are_counted_too(tmp_path):
    made = calls(30)

    async def story():
        kept = keeping(tmp_path, keep_days=1)
        async with await Store.open(kept) as store:
            for each in made[:20]:
                await store.append(each)
            await audit.checkpoint(kept, store)
            assert await audit.prune(kept, store) == 20
            for each in made[20:]:
                await store.append(each)
            assert await told(store, "task") == counted(made, "task")

    asyncio.run(story())
