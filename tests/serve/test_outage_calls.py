"""One call at a time through an outage: what waits for a person, what streams, limits, tenants, and no text."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager

import httpx2 as httpx
import msgspec
import pysqlite3.dbapi2 as sqlite
from outages import database, status
from serving import RULES, path_of, say, socket_of, tickets, workspace
from test_keys import bearer, made

from insource.engines.scripted import Scripted
from insource.errors import StoreError
from insource.journeys import audit
from insource.journeys.recover import recover
from insource.nouns import Attempt, Decision, Limits, Record
from insource.serve.app import create_app
from insource.settings import AuditSettings
from insource.store import Store, spool_file
from insource.store.spool import Spool
from insource.store.spool_file import Line


def settings_of(root, **serve):
    root.mkdir(exist_ok=True)
    return msgspec.structs.replace(workspace(root, **serve), audit=AuditSettings(spool="spool", spool_after_s=0.2))


@asynccontextmanager
async def gateway(root, **serve):
    settings = settings_of(root, **serve)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", RULES))})
        async with socket_of(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
            yield store, http, app.state.desk


@contextmanager
def down(root):
    """Somebody holds the database; by the same library, for the locks of two in one process do not see each other."""
    with contextlib.closing(sqlite.connect(database(root), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def post(http, text, **more) -> httpx.Response:
    return await http.post("/v1/chat/completions", json=say(text, **more))


def spooled(root) -> bytes:
    return b"".join(path.read_bytes() for path in spool_file.in_folder(root / "spool"))


def record(name) -> Record:
    attempt = Attempt(decision=Decision(engine="e", rule="task", accepted=True, reason="sure"))
    return Record(id=name, task="tickets", release=None, tenant="local", attempts=(attempt,), outcome="answered",
                  input_hash="h", latency_ms=1.0)  # fmt: skip


async def kinds(store) -> dict[str, list[str]]:
    """Record → the kinds of the entries about it, in their order."""
    found: dict[str, list[str]] = {}
    for entry in await store.chain_entries(0):
        found.setdefault(entry["about"], []).append(entry["kind"])
    return found


async def test_what_waits_for_a_person_waits_in_the_store_once_it_is_back(tmp_path):
    async with gateway(tmp_path) as (store, http, _):
        with down(tmp_path):
            answers = [await post(http, f"unsure {i}") for i in range(3)]
            assert [one.headers["x-insource-decision"] for one in answers] == ["review"] * 3
            assert (await status(http, "degraded")).status_code == 200
        await status(http, "ready")
        names = [one.headers["x-insource-record"] for one in answers]
        waiting = await store.pending()
        assert [(one.record, one.input) for one in waiting] == [(n, f"unsure {i}") for i, n in enumerate(names)]
        assert [(await store.record(name)).spooled for name in names] == [True] * 3
        verified = await audit.verify(settings_of(tmp_path), store)
        assert (verified.whole, verified.spooled) == (True, 3)
        (task,) = await audit.usage(store, by="task")
        assert (task.calls, task.review, task.spooled) == (3, 3, 3)


async def test_the_spool_has_no_text_but_of_what_waits_for_a_person(tmp_path):
    async with gateway(tmp_path) as (_, http, _), asyncio.timeout(60):
        with down(tmp_path):
            assert (await post(http, "a refund for Rumpelstiltskin")).status_code == 200
            assert (await post(http, "Rapunzel", model="hub")).status_code == 200
            assert (await post(http, "Cinderella", model="hub", stream=True)).status_code == 200
            assert (await post(http, "unsure of Snowwhite")).status_code == 200
            held = spooled(tmp_path)
            assert held.count(b'{"intent":{') == held.count(b'"record":{') == 4
            for text in (b"Rumpelstiltskin", b"Rapunzel", b"Cinderella", b"Hello there"):
                assert text not in held
            assert b"unsure of Snowwhite" in held
        await status(http, "ready")


async def test_a_stream_begun_on_one_side_of_an_outage_ends_on_the_other(tmp_path):
    async def name(http):
        got = await post(http, "linger", model="hub", stream=True)
        assert got.text.endswith("data: [DONE]\n\n")
        return got.headers["x-insource-record"]

    async with gateway(tmp_path) as (store, http, _):
        before = asyncio.create_task(name(http))
        while not await store.open_calls():
            await asyncio.sleep(0.01)
        with down(tmp_path):
            await status(http, "degraded")
            within = asyncio.create_task(name(http))
            first = await before
        await status(http, "ready")
        second = await within
        found = await kinds(store)
        assert found[first] == found[second] == ["intent", "record"]
        assert [(await store.record(each)).spooled for each in (first, second)] == [True, False]
        assert not (await store.verify_chain()).faults
        assert await store.open_calls() == 0


async def test_limits_and_money_hold_while_the_store_is_down_and_after_the_next_start(tmp_path):
    limits = Limits(usd_per_day=0.00002)  # a word of the hub costs 0.000001
    async with gateway(tmp_path) as (store, http, desk):
        key = bearer(await made(store, "ada", limits=limits))
        many = bearer(await made(store, "bob", limits=Limits(requests_per_minute=3)))

        async def asked(who, **more):
            body = say("Hi", model="hub", max_tokens=4, **more)
            return (await http.post("/v1/chat/completions", json=body, headers=who)).status_code

        assert await asked(key) == await asked(many) == 200
        with down(tmp_path):
            assert [await asked(many) for _ in range(3)] == [200, 200, 429]
            spent = [await asked(key) for _ in range(12)]
            assert 200 in spent
            assert spent[-1] == 429
            for own in desk.outage.spool.own:  # as if it were killed now
                own.path.rename(own.path.with_name("away"))
        answered = 1 + spent.count(200)
        for own in desk.outage.spool.own:
            os.close(own.number)
    (tmp_path / "spool" / "away").rename(tmp_path / "spool" / "x.spool")
    async with await Store.open(settings_of(tmp_path)) as store:
        await recover(store, tmp_path / "spool")
        records = [one for one in await store.records(limit=100) if one.caller == "ada"]
        assert len(records) == answered
        (ada,) = [one for one in await store.spent("2000-01-01") if one.caller == "ada"]
        assert abs(ada.usd - sum(one.usd for one in records)) < 1e-12
    async with gateway(tmp_path) as (store, http, _):
        got = await http.post("/v1/chat/completions", json=say("Hi", model="hub", max_tokens=4), headers=key)
        assert got.status_code == 429


async def test_money_of_calls_that_are_carried_in_is_counted_once_where_gateways_share_it(tmp_path, monkeypatch):
    """A call costs 0.000003, and 0.000004 at most."""
    monkeypatch.setattr("insource.store.spool_file.PAGE", 2)
    async with gateway(tmp_path, workers=2) as (store, http, desk):
        key = bearer(await made(store, "ada", limits=Limits(usd_per_day=0.00002)))

        async def asked():
            body = say("Hi", model="hub", max_tokens=4)
            return (await http.post("/v1/chat/completions", json=body, headers=key)).status_code

        assert await asked() == 200
        take, failing = store.take_spooled, [StoreError("cut off"), StoreError("cut off")]

        async def taken(lines, process):
            came = await take(lines, process)
            if len(await store.records()) > 3 and failing:
                raise failing.pop()  # the store has the page, and nobody heard that
            return came

        monkeypatch.setattr(store, "take_spooled", taken)
        with down(tmp_path):
            assert [await asked() for _ in range(3)] == [200] * 3
        await status(http, "ready")
        assert not failing, "it was cut short"
        (ada,) = [one for one in await store.spent("2000-01-01") if one.caller == "ada"]
        name, day = "ada of local", desk.meter.ledger.day
        assert desk.meter.room._durable[name, day] == desk.meter.ledger.use(name).day == round(ada.usd * 1e9)
        assert [await asked() for _ in range(3)] == [200, 200, 429], "what is left is two calls"


async def test_a_tenant_that_the_gateway_never_saw_is_refused_at_once_while_its_key_cannot_be_read(tmp_path):
    async with gateway(tmp_path) as (store, http, _):
        await made(store, "ada")
        with down(tmp_path):
            pass
        other = bearer(await made(store, "eve", tenant="new"))
        assert (await http.get("/v1/models", headers=other)).status_code == 200
        with down(tmp_path):
            assert (await status(http, "degraded")).status_code == 200
            body = say("Hi", model="hub")
            got = await asyncio.wait_for(http.post("/v1/chat/completions", json=body, headers=other), 3)
            assert got.status_code == 503
            assert got.json()["error"]["code"] == "store_unavailable"
        await status(http, "ready")
        assert (await http.post("/v1/chat/completions", json=say("Hi", model="hub"), headers=other)).status_code == 200


async def test_a_caller_who_leaves_while_the_store_is_down_leaves_a_record(tmp_path):
    async with gateway(tmp_path) as (store, http, _):
        with down(tmp_path):
            await status(http, "degraded")
            body = say("linger", model="hub", stream=True)
            async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                await anext(answer.aiter_raw())
            await asyncio.sleep(1.0)
        await status(http, "ready")
        (record,) = await store.records()
        assert record.spooled


async def test_a_spool_that_is_changed_under_the_gateway_is_kept_and_calls_go_on(tmp_path, caplog):
    async with gateway(tmp_path) as (store, http, _):
        with down(tmp_path):
            for i in range(4):
                assert (await post(http, f"refund {i}")).status_code == 200
            (path,) = spool_file.in_folder(tmp_path / "spool")
            data = path.read_bytes()
            with path.open("r+b") as file:
                file.write(data.replace(b"spooled", b"spooked", 1))
        await asyncio.sleep(1)
        assert path.name in (await status(http, "degraded")).json()["faults"][0]
        assert (await post(http, "refund")).status_code == 200
        assert [record.spooled for record in await store.records()] == [False]
        path.unlink()
        await status(http, "ready")
    assert "line 2 is not as it was written" in caplog.text


async def test_a_spool_that_is_removed_under_the_gateway_is_told_and_calls_go_on(tmp_path, caplog):
    async with gateway(tmp_path) as (store, http, _):
        with down(tmp_path):
            assert (await post(http, "refund")).status_code == 200
            (path,) = spool_file.in_folder(tmp_path / "spool")
            path.unlink()
        await status(http, "ready")
        assert (await post(http, "refund")).status_code == 200
        assert len(await store.records()) == 1
    assert "was removed before it was carried in" in caplog.text


async def test_ready_finds_out_by_itself_that_the_store_is_down(tmp_path):
    async with gateway(tmp_path) as (_, http, desk):
        assert (await http.get("/readyz")).json()["status"] == "ready"
        with down(tmp_path):
            got = await asyncio.wait_for(http.get("/readyz"), 3)
            assert (got.status_code, got.json()["status"]) == (200, "degraded")
            assert desk.outage.away
        await status(http, "ready")


async def test_rows_that_nobody_waits_for_any_longer_come_before_the_same_from_the_spool(tmp_path):
    """Of calls that come one after another the first waits in the store's thread, the others behind it."""
    async with gateway(tmp_path) as (store, http, desk):
        with down(tmp_path):
            calls = []
            for i in range(8):
                calls.append(asyncio.create_task(post(http, f"refund {i}")))
                await asyncio.sleep(0.01)
            assert {one.status_code for one in await asyncio.gather(*calls)} == {200}
            assert desk.outage.away
        await status(http, "ready")
        await store.settled()
        found = await kinds(store)
        assert list(found.values()) == [["intent", "record"]] * 8
        assert await store.open_calls() == 0
        assert not (await store.verify_chain()).faults


async def test_what_only_the_store_knows_is_refused_at_once_and_the_rest_is_told(tmp_path):
    async with gateway(tmp_path) as (_, http, _), asyncio.timeout(20):
        with down(tmp_path):
            await status(http, "degraded")
            listed = [one["id"] for one in (await http.get("/v1/models")).json()["data"]]
            assert {"tickets", "hub", "hub-large"} <= set(listed)
            pinned = await post(http, "refund", model="tickets@2.0.0")
            assert (pinned.status_code, pinned.json()["error"]["code"]) == (503, "store_unavailable")
            assert (await post(http, "refund", model="no-such-model")).status_code == 404
        await status(http, "ready")


async def test_ready_says_no_when_the_spool_takes_nothing_either(tmp_path):
    async with gateway(tmp_path) as (_, http, _):
        with down(tmp_path):
            await status(http, "degraded")
            (tmp_path / "spool").rename(tmp_path / "away")
            (tmp_path / "spool").write_text("a file in its place")
            got = await status(http, "not ready")
            assert got.status_code == 503
            assert "the spool" in got.json()["faults"][0]
            refused = await post(http, "refund")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
            (tmp_path / "spool").unlink()
            (tmp_path / "away").rename(tmp_path / "spool")
            await status(http, "degraded")
            assert (await post(http, "refund")).status_code == 200
        await status(http, "ready")


async def test_a_store_that_fails_again_in_the_last_moment_holds_no_call_up(tmp_path, monkeypatch):
    take, held = Store.take_spooled, []

    async def slowly(self, lines, process):
        if desk.outage._last is not None and not held:
            held.append(lines)
            await asyncio.sleep(30)
        return await take(self, lines, process)

    monkeypatch.setattr(Store, "take_spooled", slowly)
    async with gateway(tmp_path) as (store, http, desk):
        slowest, answered, ends = 0.0, [], asyncio.Event()

        async def calls():
            nonlocal slowest
            while not ends.is_set():
                began = time.monotonic()
                got = await post(http, "refund")
                slowest = max(slowest, time.monotonic() - began)
                assert got.status_code == 200
                answered.append(got.headers["x-insource-record"])

        with down(tmp_path):
            await status(http, "degraded")
            calling = [asyncio.create_task(calls()) for _ in range(4)]
            await asyncio.sleep(0.5)
        await status(http, "ready")
        ends.set()
        await asyncio.gather(*calling)
        assert held, "no line came in the last moment"
        assert slowest < 5
        assert {record.id for record in await store.records(limit=10_000)} == set(answered)
        assert await store.open_calls() == 0
        assert not (await store.verify_chain()).faults


def test_what_is_spooled_is_carried_in_by_hand_from_any_folder(tmp_path):
    settings = settings_of(tmp_path)
    (tmp_path / "insource.toml").write_text("")

    async def left() -> None:
        async with await Store.open(settings):
            spool = Spool(tmp_path / "elsewhere", 10**6)
            await spool.add(Line(record=record("r1"), pending=None))
            os.close(spool.own[0].number)

    asyncio.run(left())
    command = [sys.executable, "-m", "insource", "-C", str(tmp_path), "store", "recover"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "audit.spool" in done.stderr) == (2, True)
    done = subprocess.run([*command, str(tmp_path / "elsewhere")], capture_output=True, text=True, check=True)
    assert "carried in from the spool: 1 calls" in done.stdout
