"""What is due is done once, a failing job stops no other, and a person hears what to look at."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from behind import behind

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, go_live, release

from insource.cli.main import main
from insource.errors import Conflict
from insource.journeys.nightly import nightly
from insource.journeys.promote import promote
from insource.nouns import Check, Gate, Intent, Pending, Record, stamp
from insource.settings import load_settings
from insource.store import Store, spool_file
from insource.store.files import alone


async def gated(settings, store):
    made = await release(settings, store)
    check = Check(name="accuracy", demanded="≥ 0.8", found="0.9", passed=True)
    await store.save_gate(Gate(release=made.name, artefact=made.artefact, checks=(check,), report="report"))
    return made


def states(night) -> dict[str, str]:
    return {f"{job.task} {job.name}".strip(): job.state for job in night.jobs}


async def test_what_is_due_is_done_once(tmp_path):
    settings = folder(tmp_path)
    file = tmp_path / "tasks" / "tickets.toml"
    file.write_text(file.read_text() + "[rollout]\nstaging_days = 0\n")
    async with await Store.open(settings) as store:
        first = await release(settings, store)
        await go_live(store, first.name)
        second = await gated(settings, store)
        await promote(second, settings, store, to="staging")
        await store.intend(Intent(id="a" * 32, task="tickets", tenant="local", input_hash="", until="2026-01-01",
                                  created="2025-12-31T00:00:00.000+00:00"))  # fmt: skip
        night = await nightly(settings, store)
        assert states(night) == {
            "recover": "done", "retention": "nothing to do", "checkpoint": "done", "audit": "done",
            "tickets rollout": "done", "tickets review": "nothing to do", "tickets watch": "nothing to do",
            "tickets promise": "nothing to do", "tickets holdout": "nothing to do",
            "tickets pinned": "nothing to do", "tickets cadence": "done", "backup": "done", "alerts": "nothing to do",
        }  # fmt: skip
        assert (await store.release("tickets", "1.1.0")).stage == "shadow"
        again = states(await nightly(settings, store))
        assert (again["recover"], again["tickets rollout"], again["backup"]) == ("nothing to do",) * 3


async def test_two_at_once_are_one(tmp_path):
    settings = folder(tmp_path)
    async with await Store.open(settings) as store, await Store.open(settings) as other:
        with alone(settings.state / "nightly.lock", "insource nightly"), pytest.raises(Conflict, match="is running"):
            await nightly(settings, other)
        assert not (await nightly(settings, store)).failed


async def test_a_broken_task_stops_nothing_else(tmp_path):
    settings = folder(tmp_path)
    (tmp_path / "tasks" / "broken.toml").write_text("name = 7")
    async with await Store.open(settings) as store:
        await go_live(store, (await release(settings, store)).name)
        night = await nightly(settings, store)
    assert {job.task for job in night.failed} == {"broken"}
    assert states(night)["tickets watch"] == "nothing to do"
    assert states(night)["audit"] == "done"


def test_the_verb_says_what_it_did_and_ends_with_one_where_the_audit_is_not_whole(tmp_path):
    settings = folder(tmp_path)

    async def made() -> None:
        async with await Store.open(settings) as store:
            await go_live(store, (await release(settings, store)).name)
            now = stamp(time.time())
            await store.append(Record(id="b" * 32, task="tickets", release=None, tenant="local", attempts=(),
                                      outcome="failed", input_hash="", latency_ms=1.0, created=now))  # fmt: skip

    asyncio.run(made())
    runner = CliRunner()
    done = runner.invoke(main, ["-C", str(tmp_path), "nightly"])
    assert done.exit_code == 0
    assert "audit: the audit chain is whole" in done.output
    assert "was made, was restored and is whole; 1 is kept" in done.output
    done = runner.invoke(main, ["-C", str(tmp_path), "nightly"])
    assert "is recent, and was restored when it was made; 1 is kept" in done.output
    with behind(settings.root) as database:
        database.execute("UPDATE record SET body = replace(body, 'failed', 'answered')")
    done = runner.invoke(main, ["-C", str(tmp_path), "nightly", "--json"])
    assert done.exit_code == 1, done.output
    jobs = {job["name"]: job for job in json.loads(done.stdout)["jobs"] if not job["task"]}
    assert jobs["audit"]["state"] == "failed"
    assert jobs["checkpoint"]["state"] in ("done", "failed")
    said = runner.invoke(main, ["-C", str(tmp_path), "watch"]).output
    assert "workspace audit failed" in said
    assert runner.invoke(main, ["-C", str(tmp_path), "watch", "--json"]).exit_code == 0
    with behind(settings.root) as database:
        database.execute("UPDATE record SET body = replace(body, 'answered', 'failed')")
    assert runner.invoke(main, ["-C", str(tmp_path), "nightly"]).exit_code == 0
    assert "no alert is open" in runner.invoke(main, ["-C", str(tmp_path), "watch"]).output


async def test_a_task_is_due_again_by_its_own_measure(tmp_path):
    settings = folder(tmp_path)
    file = tmp_path / "tasks" / "tickets.toml"
    plain = file.read_text()
    async with await Store.open(settings) as store:
        made = await release(settings, store)
        assert states(await nightly(settings, store))["tickets cadence"] == "nothing to do"
        await go_live(store, made.name)
    old = (datetime.now(UTC) - timedelta(days=100)).isoformat(timespec="seconds")
    with behind(settings.root) as database:
        database.execute("UPDATE release SET body = replace(body, ?, ?)", (made.created, old))
    async with await Store.open(settings) as store:
        for asked, state in (("annual", "done"), ("quarterly", "look"), ("monthly", "look"), ("annual", "done")):
            file.write_text(f'{plain}[watch]\nretrain = "{asked}"\n')
            night = await nightly(settings, store)
            job = next(job for job in night.jobs if job.name == "cadence")
            assert job.state == state
            assert [one.cause for one in await store.open_alerts("tickets")] == ["retrain"] * (state == "look")
        assert job.words.startswith("trained 100 days ago; annual is every 366")


async def test_what_the_spool_and_the_queue_leave_is_an_alert_until_it_is_gone(tmp_path):
    folder(tmp_path)
    with (tmp_path / "insource.toml").open("a") as file:
        file.write('[audit]\nspool = "spool"\n')
    settings = load_settings(tmp_path)
    (tmp_path / "hub.jsonl").write_text('{"match": "*", "error": "down"}\n')
    tasks = tmp_path / "tasks" / "tickets.toml"
    late = '[review]\nwithin = "8h"\notherwise = "escalate"\nengine = "hub"\n'
    tasks.write_text((plain := tasks.read_text()) + late)
    (spool := tmp_path / "spool").mkdir()
    changed = spool / f"1{spool_file.ENDING}"
    changed.write_bytes(b"changed\n")
    async with await Store.open(settings) as store:
        old = stamp(time.time() - 9 * 3600)
        one = Record(id="c" * 32, task="tickets", release=None, tenant="local", attempts=(), outcome="review",
                     input_hash="", latency_ms=1.0, created=old)  # fmt: skip
        await store.append(one, Pending(record=one.id, task="tickets", input="canary-text", created=old))
        for _ in range(2):
            found = states(await nightly(settings, store))
            assert (found["recover"], found["tickets review"]) == ("look", "look")
            alerts = {alert.cause: alert for alert in await store.open_alerts()}
            assert set(alerts) == {"recover kept", "review late"}, "once per cause"
        assert (alerts["review late"].words, alerts["review late"].task) == ("1 waits on: engine_down", "tickets")
        assert alerts["recover kept"].next == "insource store recover"
        assert alerts["recover kept"].words == "a file of the spool did not come in whole and is kept"
        changed.unlink()
        tasks.write_text(plain)
        await nightly(settings, store)
        assert await store.open_alerts() == []
