"""Keys and what was spent, as the store keeps them; and a database of form 1, which knew neither."""

import asyncio
import sqlite3
from pathlib import Path

import msgspec
import pytest
from test_store import record, settings

from insource.errors import Conflict, Missing
from insource.nouns import Key, Limits
from insource.store import Store
from insource.store.migrations import migrate
from insource.store.spent import Spent

FORM_1 = Path(__file__).parent / "form_1.sql"  # what insource wrote before there were keys
T0, T1, T2 = (f"2026-11-26T0{hour}:00:00+00:00" for hour in range(3))


def key(id: str, name: str = "desk", **more) -> Key:
    return Key(id=id, name=name, digest="d" * 64, **({"created": T0} | more))


def paid(id: str, usd: float, created: str, tenant: str = "local", caller: str = ""):
    return msgspec.structs.replace(record(id), usd=usd, created=created, tenant=tenant, caller=caller)


def test_a_key_comes_back_as_it_went_in_and_changes_are_told_once(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            assert await store.keys() == ([], 0)
            first = key("a", roles=("caller", "admin"), scopes=("tickets",), limits=Limits(concurrent=3))
            await store.add_key(first)
            await store.add_key(key("b", "other"))
            found, at = await store.keys()
            assert found == [first, key("b", "other")]
            assert await store.keys(at) == ([], at)
            revoked = await store.revoke_key("a", T1)
            assert (revoked.revoked, revoked.state(T1)) == (T1, "revoked")
            assert await store.keys(at) == ([revoked], at + 1)
            assert await store.key("a") == revoked

    asyncio.run(story())


def test_one_name_has_one_key_that_can_be_used(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.add_key(key("a", expires=T1))
            with pytest.raises(Conflict, match="desk has a key already, a") as taken:
                await store.add_key(key("b"))
            assert "rotate a" in taken.value.hint
            await store.add_key(key("b", created=T1))  # a has expired by then
            await store.revoke_key("b", T1)
            await store.add_key(key("c", created=T1))
            with pytest.raises(Conflict, match="b was revoked already"):
                await store.revoke_key("b", T2)
            with pytest.raises(Missing, match="no key z"):
                await store.revoke_key("z", T2)

    asyncio.run(story())


def test_a_replaced_key_ends_after_the_overlap_and_never_later_than_it_would_have(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.add_key(key("a"))
            await store.replace_key("a", key("b", created=T1), T2)
            assert (await store.key("a")).expires == T2
            await store.replace_key("b", key("c", created=T1, expires=T1), T1)
            for old in ("b", "c"):
                with pytest.raises(Conflict, match=f"{old} is expired"):
                    await store.replace_key(old, key("d", created=T1), T2)
            with pytest.raises(Missing):
                await store.replace_key("z", key("d"), T2)
            assert [found.id for found in (await store.keys())[0]] == ["a", "b", "c"]

    asyncio.run(story())


def test_what_is_spent_is_summed_with_the_record_or_not_at_all(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(paid("a", 0.5, T0, caller="desk"))
            await store.append(paid("b", 0.25, T1, caller="desk"))
            await store.append(paid("c", 4.0, T1, "plant", "desk"))
            await store.append(paid("d", 0.0, T1))
            done = await asyncio.gather(store.append(paid("a", 9.0, T1, caller="desk")), return_exceptions=True)
            assert len(done) == 1
            assert await store.spent("2026-11-26") == [
                Spent(day="2026-11-26", tenant="local", caller="desk", usd=0.75),
                Spent(day="2026-11-26", tenant="plant", caller="desk", usd=4.0),
            ]
            assert await store.spent("2026-11-27") == []
            assert [(used.caller, used.tokens) for used in await store.used(T1)] == [("", 4), ("desk", 4), ("desk", 4)]

    asyncio.run(story())


def test_a_database_of_form_1_keeps_all_it_had_and_learns_what_was_spent(tmp_path):
    (tmp_path / ".insource").mkdir()
    with sqlite3.connect(tmp_path / ".insource" / "insource.db") as old:
        old.executescript(FORM_1.read_text("utf-8"))
    old.close()

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            assert await store._thread.run(migrate) == []
            assert [found.id for found in await store.records()] == ["e", "d", "c", "b", "a"]
            assert {found.caller for found in await store.records()} == {""}
            assert [verdict.reviewer for _, verdict in await store.reviews("t")] == ["me"]
            assert [release.name for release in await store.releases("t")] == ["t@1.0.0"]
            assert [(spent.day, spent.tenant, spent.usd) for spent in await store.spent("")] == [
                ("2026-10-31", "local", 0.25),
                ("2026-11-02", "local", 0.625),
                ("2026-11-03", "plant", 2.0),
            ]
            await store.add_key(key("a"))
            assert (await store.keys())[0] == [key("a")]

    asyncio.run(story())
