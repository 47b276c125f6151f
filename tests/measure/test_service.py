"""What one replica does, measured of clerks and of batches whose times are known; and the replicas that come of it."""

import asyncio
import json
import random
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "release"))
from release_parts import keep_rows, rows, workspace

from insource.cli.main import main
from insource.errors import Invalid
from insource.journeys.sizing import station
from insource.measure import service
from insource.measure.load import Reply
from insource.measure.service import Served, evenly, served
from insource.price.batches import Batches
from insource.price.queueing import Lanes
from insource.settings import load_settings
from insource.store import Store


def silent(what, done, total):
    pass


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name, seconds in (("PATIENCE_S", 1.0), ("CROWD_S", 1.0), ("LONGEST_S", 3.0)):
        monkeypatch.setattr(service, name, seconds)


async def test_lanes_are_seen_by_what_they_do_together():
    free = asyncio.Semaphore(4)

    async def send(_):
        async with free:
            await asyncio.sleep(0.02)
        return Reply()

    found = await served(send, ["a"], silent)
    assert found.n >= 20
    assert found.mean_ms >= 20
    assert [callers for callers, _ in found.some] == [4, 16]
    assert 1.5 * 1e3 / found.mean_ms < found.crowd_per_s <= 4 / 0.02, "more than one at a time, and never five"


async def test_crowds_do_not_all_ask_the_same_few_texts():
    asked, texts = [], [str(number) for number in range(1000)]

    async def send(text):
        asked.append(text)
        await asyncio.sleep(0.02)
        return Reply()

    await served(send, texts, silent)
    assert len(set(asked)) == len(texts)


def test_each_stretch_of_the_inputs_is_as_long_as_the_whole():
    dice = random.Random(0)  # noqa: S311 - lengths, not secrets
    texts = ["x" * round(dice.lognormvariate(4, 0.6)) for _ in range(300)]
    asked = evenly(texts)
    assert sorted(asked) == sorted(texts)
    mean = sum(map(len, texts)) / len(texts)
    far = {name: max(abs(sum(map(len, some[at : at + 60])) / 60 / mean - 1) for at in range(0, 240, 10))
           for name, some in (("as they come", texts), ("evenly", asked))}  # fmt: skip
    assert far["evenly"] < 0.06
    assert far["as they come"] > 0.12
    assert evenly([]) == []
    assert evenly(["a"]) == ["a"]


@pytest.mark.slow
async def test_calls_that_fail_count_in_neither():
    asked = []

    async def send(_):
        asked.append(1)
        await asyncio.sleep(0.002)
        return Reply(error="busy" if len(asked) % 3 else "")

    found = await served(send, ["a"], silent)
    assert 10 <= found.n < len(asked)
    assert found.crowd_per_s > 0


@pytest.mark.slow
async def test_who_answers_nothing_cannot_be_sized(tmp_path):
    async def send(_):
        return Reply(error="down")

    found = await served(send, ["a"], silent)
    assert (found.n, found.crowd_per_s) == (0, 0.0)
    with pytest.raises(Invalid, match="answered no call"):
        station(found, workspace(tmp_path), "x")


def test_engines_in_this_process_are_batches_and_servers_are_lanes(tmp_path):
    root = workspace(tmp_path).root
    (root / "insource.toml").write_text(
        '[engines.far]\nkind = "openai"\nbase_url = "http://127.0.0.1:9"\nmodel = "m"\n'
        '[engines.near]\nkind = "embedded"\n'
    )
    settings = load_settings(root)
    found = Served(mean_ms=20.0, variation=0.3, n=50, crowd=64, crowd_per_s=98.46)
    assert station(found, settings, "near") == station(found, settings, "t@1.0.0")
    batches = station(found, settings, "near")
    assert isinstance(batches, Batches)
    assert batches.variation == 0.3
    assert batches.took(64) == pytest.approx(64 / 98.46), "64 callers were 64 at a time"
    bent = station(msgspec.structs.replace(found, some=((4, 40.0), (16, 64.0))), settings, "near")
    assert [float(bent.took(n)) for n in (1, 4, 16, 64)] == pytest.approx([0.02, 0.1, 0.25, 64 / 98.46])
    lanes = station(found, settings, "far")
    assert station(found, settings, "far+examples") == lanes
    assert lanes == Lanes(mean_s=2 / 98.46, variation=0.3, lanes=2)


@pytest.mark.slow
def test_size_for_says_replicas_and_what_the_load_test_found(tmp_path):
    settings = workspace(tmp_path)

    async def keep():
        async with await Store.open(settings) as store:
            await keep_rows(store, rows(200))

    asyncio.run(keep())
    base = ["-C", str(settings.root), "measure", "defects", "--load", "--candidate", "baseline"]
    words = [*base, "--size-for", "100", "--target-ms", "400", "--seconds", "1"]
    done = CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert (found["kind"], found["rate"], found["target_ms"]) == ("batches", 100.0, 400.0)
    assert found["served"]["n"] >= 20
    assert found["needed"]["replicas"] >= 1
    assert found["needed"]["p95_ms"] <= 400
    assert found["held"]["rate"] == pytest.approx(found["one"]["rate"])
    assert 0 < found["held"]["goodput"] <= 1
    said = CliRunner().invoke(main, words, catch_exceptions=False).stdout
    assert said.startswith("100 calls a second within 400 ms at p95: 1 replica")
    assert "measured of 1" in said
    never = CliRunner().invoke(main, [*base, "--size-for", "1", "--target-ms", "0.001", "--seconds", "1"])
    assert "no number of replicas does that" in never.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size-for", "5"], "--size-for is about a load"),
        (["--load", "--size-for", "5", "--rate", "5"], "leave one of them out"),
        (["--load", "--size-for", "5", "--report", "x.html"], "a size has no page"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, words, said):
    settings = workspace(tmp_path)
    done = CliRunner().invoke(main, ["-C", str(settings.root), "measure", "defects", *words])
    assert done.exit_code == 2
    assert said in done.stderr
