"""An engine of others is asked as it is and shown examples; what it then does better is told, with how to have it."""

import re
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from migrating import HUB, LABELS, WANTED, filled, migrated, rows, write

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.engines.windowed import Estimate
from insource.errors import Invalid
from insource.journeys.assessed import changed
from insource.journeys.lineup import Lineup, engine_of
from insource.journeys.measure import shown
from insource.journeys.migrate_plan import plan
from insource.journeys.replay import replay
from insource.measure.migration_page import html
from insource.nouns import Dataset, digest
from insource.nouns.assessment import Against, Case, Demand, Way
from insource.release.verdict import verdict
from insource.settings import load_task
from insource.store import Store

SHOWN = "Examples, each with its right answer"


class Pupil(ScriptedServer):
    """Files one text in five wrongly, unless it is shown examples."""

    def _reply(self, asked):
        found = re.search(r"number (\d{4})", asked["messages"][-1]["content"])
        number = int(found[1]) if found else 1  # of an attack nothing may be left
        taught = SHOWN in str(asked["messages"][:-1])
        return Reply(text=LABELS[(number + (number % 5 == 0 and not taught)) % 3])


@asynccontextmanager
async def pupil(root: Path, engine: str = HUB, **task: object):
    """A workspace whose engine `hub` is such a server."""
    async with Pupil([]) as server:
        (root / "tasks").mkdir()
        (root / "insource.toml").write_text(engine.format(url=server.base_url))
        settings = write(root, **task)
        await filled(settings)
        yield settings, server


async def test_an_engine_that_examples_help_is_used_with_them(tmp_path):
    async with pupil(tmp_path, incumbent="none", calls=100) as (settings, server):
        found = await migrated(settings)
    scores = {one.name: one.score.value for one in found.entrants}
    assert scores["hub+examples"] == 1.0
    assert scores["hub"] == pytest.approx(0.8, abs=0.05)
    assert (found.verdict.word, found.verdict.way) == ("cheaper", "hub+examples")
    assert 'else = ["hub"]' in found.verdict.then
    assert "instruction" in found.verdict.then
    (told,) = [one.instruction for one in found.entrants if one.instruction]
    assert f'<pre class="told" tabindex="0">{told.splitlines()[0]}' in html(found)
    task = load_task(settings, "tickets")
    followed = msgspec.structs.replace(task, instruction=told, owner="mia")
    async with await Store.open(settings) as store:
        assert changed(found, task, store) == ""
        assert changed(found, followed, store) == "instruction, as it says, owner"
        assert changed(found, msgspec.structs.replace(task, instruction="other"), store) == "instruction"
    assert not any(row.input in told for row in rows() if row.split != "train"), (
        "no row that it is measured by is shown"
    )
    assert [one.name for one in found.entrants if one.hard and "hub" in one.name] == ["hub", "hub+examples"]
    assert 2 * sum(SHOWN in str(one) for one in server.seen) == len(server.seen)


@pytest.mark.slow
async def test_an_incumbent_that_does_better_with_examples_is_told_so(tmp_path):
    async with pupil(tmp_path, incumbent="hub", calls=100) as (settings, _):
        found = await migrated(settings)
    taught = next(way for way in found.case.ways if way.name == "hub+examples")
    assert (taught.kind, taught.engine) == ("api", "hub")
    assert taught.against.low > 0, "it is better than without"
    assert next(way for way in found.case.ways if way.name == "hub").engine == ""
    async with await Store.open(settings) as store:
        assert (await replay("tickets", store, found.run[:12]))[0].same


@pytest.mark.slow
async def test_where_no_row_may_be_shown_it_is_not_asked_twice(tmp_path):
    async with pupil(tmp_path, incumbent="none", calls=100) as (settings, server), await Store.open(settings) as store:
        taught = [msgspec.structs.replace(row, origin="teacher") for row in rows()]
        await store.save_dataset(Dataset(id=digest(taught), task="tickets", counts={"train": 200, "test": 200}), taught)
        planned = await plan(load_task(settings, "tickets"), settings, store, WANTED)
        assert "no row of train may be shown to hub" in {part.blocked for part in planned.parts}
        found = await migrated(settings)
    assert "no row of train may be shown to hub" in found.failed["hub+examples"]
    assert not any(SHOWN in str(one) for one in server.seen)


async def test_examples_leave_room_for_the_text(tmp_path):
    with_context = HUB.replace('region = "us"', 'region = "us"\ncontext = 400')
    async with pupil(tmp_path, with_context, incumbent="none") as (settings, _), await Store.open(settings) as store:
        lineup = Lineup(settings, store, load_task(settings, "tickets"))
        dataset = await store.dataset("tickets")
        plain, room = lineup.task, Estimate(400)
        some = await shown("hub", lineup, dataset, 3)
        assert SHOWN in some.instruction
        assert room.room(some) >= room.room(plain) // 2
        engine = msgspec.structs.replace(settings.engines["hub"], context=40)
        lineup.settings = msgspec.structs.replace(settings, engines={"hub": engine})
        with pytest.raises(Invalid, match="no row of train may be shown"):
            await shown("hub", lineup, dataset, 3)
        assert await shown("hub", lineup, dataset, 0) is plain


async def test_the_plan_says_what_examples_cost_and_what_may_not_be_asked(tmp_path):
    async with pupil(tmp_path, incumbent="none") as (settings, server), await Store.open(settings) as store:
        planned = await plan(load_task(settings, "tickets"), settings, store, WANTED)
        parts = {part.what: part for part in planned.parts if part.step == "candidates"}
        assert parts["hub+examples"].usd > 1.3 * parts["hub"].usd > 0
        attacked = [part.what for part in planned.parts if part.step == "adversarial" and "hub" in part.what]
        assert attacked == ["hub", "hub+examples"]
        settings = write(tmp_path, incumbent="none", sensitivity="premises")
        planned = await plan(load_task(settings, "tickets"), settings, store, WANTED)
        parts = [part for part in planned.parts if part.what == "hub+examples"]
        assert all(part.blocked and not part.usd for part in parts)
        found = await migrated(settings)
        assert "hub+examples" in found.failed
        assert server.seen == [], "no example leaves either"


@pytest.mark.parametrize(("usd", "said"), [(1.0, "a cheaper API"), (9.0, "another API")])
def test_what_costs_more_than_what_is_there_is_not_called_cheaper(usd, said):
    met = Demand(name="accuracy", demanded=0.9, at_most=False, state="met", value=0.95)
    today = Way(name="hub", kind="api", usd_month=5.0, demands=(msgspec.structs.replace(met, state="missed"),))
    better = Against(metric="accuracy", difference=0.1, low=0.05, high=0.2, p=0.0, n=99)
    other = Way(name="hub+examples", kind="api", usd_month=usd, demands=(met,), against=better, engine="hub")
    found = verdict(Case(ways=(today, other), rows=99, margin=0.02, incumbent="hub", compared="measured",
                         calls_per_day=9.0, calls_per_month=99.0))  # fmt: skip
    assert found.way == "hub+examples"
    assert f"Use hub+examples, {said}" in found.sentence


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("hub", "hub"),
        ("hub+examples", "hub"),
        ("zero-shot:hub", None),
        ("few-shot:base", None),
        ("tickets@1.0.0", None),
    ],
)
def test_a_name_means_an_engine_as_it_is_or_shown_examples(name, engine):
    assert engine_of(name, {"hub": 1}) == engine
