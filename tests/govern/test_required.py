"""What [govern] requires keeps a release from callers: the gate says no, nobody promotes it, and going back is free."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from governed import TASK, first, released
from test_govern import insource, rewrite, without, workspace

from insource.errors import Invalid, Refused
from insource.journeys.edge import bundle, install
from insource.journeys.govern import declare
from insource.journeys.promote import promote, rollback
from insource.journeys.trial import advance
from insource.settings import load_settings, load_task
from insource.store import Store


def require(settings, *names: str) -> None:
    said = f"[govern]\nrequired = {json.dumps(names)}\n"
    (settings.root / "tasks" / "defects.toml").write_text(TASK.replace("[govern]\n", said))


async def test_a_release_that_lacks_evidence_is_no_canary_and_not_live_and_going_back_is_free(settings):
    require(settings, "owner", "bias", "limitations")
    async with await Store.open(settings) as store:
        before = await store.release("defects", "1.0.0")
        for to in ("live", "canary"):
            with pytest.raises(Refused, match=r"lacks evidence that \[govern\] requires: limitations"):
                await promote(before, settings, store, to=to)
        await promote(before, settings, store, to="staging")
        await promote(await store.release("defects", "1.0.0"), settings, store, to="candidate")
        assert (await rollback("defects", settings, store)).after == "live"
        assert (await store.live("defects")).version == "1.0.0"


async def test_once_somebody_says_it_the_release_may_answer(settings):
    require(settings, "limitations")
    async with await Store.open(settings) as store:
        before = await store.release("defects", "1.0.0")
        with pytest.raises(Refused):
            await promote(before, settings, store)
        await declare("defects", "limitations=Reports of two machines.", "C", settings, store)
        assert (await promote(before, settings, store)).after == "live"


async def test_the_gate_has_a_line_more_and_says_no(tmp_path):
    settings = workspace(tmp_path / "plant")
    require(settings, "bias", "purpose")
    async with await Store.open(settings) as store:
        with pytest.raises(AssertionError, match="missing: purpose"):
            await first(settings, store)
        await declare("defects", "purpose=To file reports.", "C", settings, store)
        second = await released(settings, store)
        (answer,) = await store.gates(second.name)
        line = answer.checks[-1]
        assert (line.name, line.demanded, line.found, line.passed) == ("evidence", "bias, purpose", "all of it", True)


async def test_fields_that_stand_on_the_gate_itself_are_seen_by_it(tmp_path):
    settings = workspace(
        tmp_path / "plant", TASK.replace("[govern]\n", '[govern]\nrequired = ["gate", "robustness"]\n')
    )
    async with await Store.open(settings) as store:
        await first(settings, store)


async def test_without_required_nothing_is_asked(settings):
    async with await Store.open(settings) as store:
        (answer,) = await store.gates("defects@1.0.0")
        assert "evidence" not in [check.name for check in answer.checks]
        without('owner = "quality@plant.example"')(settings)
        assert load_task(settings, "defects").owner == ""


async def test_one_on_its_way_stays_where_it_is_until_the_evidence_is_there(settings):
    require(settings, "limitations")
    async with await Store.open(settings) as store:
        before = await store.release("defects", "1.0.0")
        await promote(before, settings, store, to="shadow")
        later = datetime.now(UTC) + timedelta(days=400)
        with_calls = TASK.replace("[govern]\n", '[rollout]\nmin_calls = 1\n[govern]\nrequired = ["limitations"]\n')
        (settings.root / "tasks" / "defects.toml").write_text(with_calls)
        await advance("defects", settings, store, later)
        assert (await store.release("defects", "1.0.0")).stage == "shadow"


async def test_what_is_required_must_be_a_field(settings):
    require(settings, "bais")
    async with await Store.open(settings) as store:
        with pytest.raises(Invalid, match="no field 'bais'"):
            await promote(await store.release("defects", "1.0.0"), settings, store)
    done = await asyncio.to_thread(insource, settings, "govern", "defects", "--check")
    assert done.exit_code == 2
    assert "did you mean bias" in done.stderr


async def test_check_tells_what_is_overdue_and_ends_with_0_when_nothing_is(settings):
    require(settings, "owner", "bias")
    done = await asyncio.to_thread(insource, settings, "govern", "defects", "--check", "--json")
    assert done.exit_code == 0, done.stderr
    rewrite(settings, "release", created="2024-01-01T00:00:00+00:00")
    rewrite(settings, "stage_change", created="2024-01-01T00:00:00+00:00")
    done = await asyncio.to_thread(insource, settings, "govern", "defects", "--check", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert {one["field"]: one["day"] for one in found["overdue"]} == {
        "holdout": "2024-01-08", "retraining": "2024-04-02", "quarterly_review": "2024-04-02"
    }  # fmt: skip
    assert "overdue: rolling holdout (2024-01-08)" in done.stderr


async def test_no_bundle_goes_around_it_neither_out_nor_in(settings, tmp_path):
    task = settings.root / "tasks" / "defects.toml"
    async with await Store.open(settings) as store:
        before = await store.release("defects", "1.0.0")
        await bundle(load_task(settings, "defects"), before, settings, store, tmp_path / "free.bundle")
        require(settings, "limitations")
        with pytest.raises(Refused, match="lacks evidence"):
            await bundle(load_task(settings, "defects"), before, settings, store, tmp_path / "x.bundle")
    assert not (tmp_path / "x.bundle").exists()
    kiosk = tmp_path / "kiosk"
    (kiosk / "tasks").mkdir(parents=True)
    (kiosk / "insource.toml").write_text("")
    (kiosk / "tasks" / "defects.toml").write_text(task.read_text())
    with pytest.raises(Refused, match="lacks evidence"):
        await install(tmp_path / "free.bundle", kiosk)
    assert "required" in (kiosk / "tasks" / "defects.toml").read_text()
    async with await Store.open(load_settings(kiosk, {})) as store:
        assert await store.live("defects") is None
