"""What a migration may spend at engines: who would cost more is not asked, and asked once there is enough for it."""

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from migrating import HUB, LABELS, WANTED, filled, migrated, write

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from insource.cli.main import main
from insource.cli.migrate import _words
from insource.collect.purse import Purse
from insource.errors import EngineBusy, EngineDown, Invalid, OverLimit
from insource.journeys.migrate_budget import out_of
from insource.journeys.migrate_plan import plan
from insource.measure.migration_page import html
from insource.nouns import Record, Request
from insource.settings import load_settings, load_task
from insource.store import Store
from paid_server import PaidServer


def label_of(text: str) -> str:
    found = re.search(r"number (\d{4})", text)
    return LABELS[int(found[1]) % 3] if found else LABELS[0]


class Dear(PaidServer):
    """Counts forty times the tokens that were to be expected."""

    def _usage(self, asked, said):
        size, written = super()._usage(asked, said)
        return 40 * size, 40 * written


@asynccontextmanager
async def hub(root: Path, kind: type[PaidServer] = PaidServer, engine: str = HUB):
    """A workspace whose engine `hub` sends a bill."""
    async with kind(label_of) as server:
        (root / "tasks").mkdir()
        (root / "insource.toml").write_text(engine.format(url=server.base_url))
        settings = write(root, incumbent="none", calls=100)
        await filled(settings)
        yield settings, server


async def planned(settings, budget: float | None):
    async with await Store.open(settings) as store:
        wanted = msgspec.structs.replace(WANTED, budget=budget)
        return await plan(load_task(settings, "tickets"), settings, store, wanted)


async def test_who_would_cost_more_is_not_asked_and_is_asked_once_there_is_enough(tmp_path, capsys):
    async with hub(tmp_path) as (settings, server):
        dear = sum(part.usd for part in (await planned(settings, None)).parts)
        found = await migrated(settings, msgspec.structs.replace(WANTED, budget=dear / 100))
        assert server.calls == 0
        assert "hub would cost about $" in found.failed["hub"]
        assert "--budget" in found.failed["hub"]
        assert "hub would cost about $" in html(found)
        assert "\nnot measured:\n  hub: hub would cost about $" in _words(found, tmp_path / "verdict.html")
        capsys.readouterr()
        enough = await migrated(settings, msgspec.structs.replace(WANTED, budget=2 * dear))
        assert (enough.run, enough.failed) == (found.run, {})
        assert {"hub", "hub+examples"} <= {one.name for one in enough.entrants}
        assert (enough.verdict.word, enough.verdict.way) == ("cheaper", "hub")
        paid = re.search(r"engines cost \$([\d.]+) of \$[\d.]+ this time", capsys.readouterr().err)
        assert float(paid[1]) == pytest.approx(server.billed, abs=1e-4)
        assert 0 < server.billed <= 2 * dear
        before = server.calls
        assert await migrated(settings, WANTED) == enough
        assert server.calls == before, "what was paid for is not asked again"


async def test_who_turns_out_dearer_is_asked_no_further(tmp_path):
    async with hub(tmp_path, Dear) as (settings, server):
        parts = {part.what: part.usd for part in (await planned(settings, None)).parts if part.step == "candidates"}
        budget = 1.5 * parts["hub"]
        found = await migrated(settings, msgspec.structs.replace(WANTED, budget=budget))
        assert "is used up while hub is asked" in found.failed["hub"]
        each = server.billed / server.calls
        assert budget - 2 * each < server.billed <= budget + each
        assert server.calls < 20


async def test_whose_attack_would_cost_more_is_named_too(tmp_path):
    async with hub(tmp_path) as (settings, server):
        file = tmp_path / "tasks" / "tickets.toml"
        file.write_text(file.read_text() + "attacked_rows = 200\n")
        asked = sum(part.usd for part in (await planned(settings, None)).parts if part.step == "candidates")
        found = await migrated(settings, msgspec.structs.replace(WANTED, budget=3 * asked))
        assert set(found.failed) == {"hub, attacked", "hub+examples, attacked"}
        assert all("would cost about" in why for why in found.failed.values())
        assert {"hub", "hub+examples"} <= {one.name for one in found.entrants}
        assert server.billed <= 3 * asked


async def test_without_a_budget_the_bill_goes_beyond_it(tmp_path):
    """The negative control of the test above."""
    async with hub(tmp_path, Dear) as (settings, server):
        parts = {part.what: part.usd for part in (await planned(settings, None)).parts if part.step == "candidates"}
        found = await migrated(settings)
        assert not found.failed
        assert server.billed > 20 * parts["hub"]


async def test_the_plan_says_who_would_not_be_asked(tmp_path):
    async with hub(tmp_path) as (settings, server):
        free = {(part.step, part.what): part for part in (await planned(settings, None)).parts}
        budget = 1.01 * free["candidates", "hub"].usd
        found = await planned(settings, budget)
        said = {(part.step, part.what): part for part in found.parts}
        assert not said["candidates", "hub"].blocked
        assert said["candidates", "hub+examples"].blocked.endswith("over the budget")
        assert found.usd <= found.budget == budget
        words = ["-C", str(tmp_path), "migrate", "tickets", "--budget", "0.001"]
        shown = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert shown.exit_code == 0, shown.output
        assert "over the budget" in shown.output
        assert "insource migrate tickets --yes --budget 0.001" in shown.output
        assert server.calls == 0


async def test_an_engine_without_a_price_keeps_no_budget(tmp_path):
    unpriced = re.sub(r"usd_per_million.*\n", "", HUB)
    async with hub(tmp_path, engine=unpriced) as (settings, server):
        with pytest.raises(Invalid, match="no budget can be kept for hub"):
            await planned(settings, 1.0)
        with pytest.raises(Invalid, match="no budget can be kept for hub"):
            await migrated(load_settings(tmp_path), msgspec.structs.replace(WANTED, budget=1.0))
        assert server.calls == 0


@pytest.mark.parametrize(("error", "cost"), [(EngineBusy("full"), 0.0), (EngineDown("broke off"), 0.25)])
async def test_a_call_that_failed_is_counted_unless_it_was_turned_away(error, cost):
    async def answer(_: Request) -> Record:
        raise error

    purse = Purse(1.0)
    ask = out_of(purse, "hub", 0.25, 4, answer)
    with pytest.raises(type(error)):
        await ask(Request(id="a"))
    assert (purse.spent, purse.held) == (cost, 0.0)


async def test_what_the_dearest_cost_is_held_for_the_next():
    async def answer(_: Request) -> Record:
        return Record(id="a", task="tickets", release=None, tenant="local", attempts=(), outcome="answered",
                      input_hash="", latency_ms=1.0, usd=0.4)  # fmt: skip

    purse = Purse(1.0)
    ask = out_of(purse, "hub", 0.1, 4, answer)
    await ask(Request(id="a"))
    await ask(Request(id="b"))
    with pytest.raises(OverLimit, match=r"the budget of \$1 is used up while hub is asked"):
        await ask(Request(id="c"))
    assert purse.spent == 0.8
