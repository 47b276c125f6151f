"""A release on trial at a running gateway: in the shadow, as a canary, forward, back, and who answered when."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import msgspec
import openai
import pytest
from live_workspace import folder, go_live, release, rows
from serving import socket_of

from insource.errors import Conflict, Refused
from insource.journeys.promote import promote, rollback
from insource.journeys.serve import close_path, open_live, open_path
from insource.journeys.train import train
from insource.journeys.trial import standing
from insource.nouns import Check, Dataset, Gate, Review, digest
from insource.serve import app as app_of_gateway
from insource.serve import trying
from insource.serve.app import _advance, create_app
from insource.settings import load_settings, load_task
from insource.store import Store

ROLLOUT = """
[rollout]
staging_days = 0
shadow_days = 0
canary = [50, 100]
canary_days = 0
min_calls = 20
max_worse = 0.3
"""


async def gated(store, made):
    check = Check(name="accuracy", demanded="≥ 0.8", found="0.9", passed=True)
    await store.save_gate(Gate(release=made.name, artefact=made.artefact, checks=(check,), report="report"))
    return made


async def worse(settings, store):
    """A second release, of shuffled labels: wrong two times of three."""
    given = ["refund", "status", "cancel"]
    turned = {label: given[(i + 1) % 3] for i, label in enumerate(given)}
    examples = [msgspec.structs.replace(one, target={"intent": turned[one.target["intent"]]}) for one in rows()]
    dataset = Dataset(id=digest([[e.id, "turned"] for e in examples]), task="tickets", counts={"train": 1})
    await store.save_dataset(dataset, examples)
    return await train(load_task(settings, "tickets"), settings, store, base="linear")


@asynccontextmanager
async def place(root, *, bad: bool = False, policy: str = ROLLOUT):
    """A gateway where tickets@1.0.0 is live and tickets@1.1.0 has passed its gate."""
    folder(root)
    file = root / "tasks" / "tickets.toml"
    file.write_text(file.read_text() + policy)
    settings = load_settings(root)
    async with await Store.open(settings) as store:
        first = await gated(store, await release(settings, store))
        await go_live(store, first.name)
        second = await gated(store, await (worse if bad else release)(settings, store))
        paths, problems = await open_live(settings, store)
        assert not problems
        app = create_app(settings, store, paths, follow=True)
        async with socket_of(app) as url:
            yield settings, store, second, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


async def ask(client, i: int, model: str = "tickets") -> str:
    text = ("i want my money back", "where is my order", "cancel my order")[i % 3] + f" number {i}"
    said = await client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": text}]
    )
    return said.headers["x-insource-release"]


async def stage_of(store, wanted: str, within_s: float = 20.0) -> None:
    async def there() -> None:
        while (await store.release("tickets", "1.1.0")).stage != wanted:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(there(), within_s)


async def followed(client, tries: int = 60) -> list[str]:
    """Who answers these calls, once the gateway has heard of the change: the same of two rounds."""
    await asyncio.sleep(1.5)
    found = [await ask(client, i) for i in range(tries)]
    assert found == [await ask(client, i) for i in range(tries)]
    return found


@pytest.mark.slow
async def test_a_good_release_goes_from_staging_to_live_by_itself_and_every_move_says_why(tmp_path):
    async with place(tmp_path) as (settings, store, second, client):
        await promote(second, settings, store, to="staging", why="better rows")

        async def calls():
            for i in itertools.count():
                await ask(client, i)
                if (await store.live("tickets")).name == second.name:
                    return

        await asyncio.wait_for(calls(), 50)
        changes = [c for c in await store.stage_changes("tickets") if c.release == second.name]
    assert [(c.after, c.share) for c in changes] == [
        ("staging", 0), ("shadow", 0), ("canary", 50), ("canary", 100), ("live", 0)]  # fmt: skip
    assert all(c.who == "insource" and c.why for c in changes[1:])
    assert all("n " in c.found["not worse"] for c in changes[2:])


async def test_in_the_shadow_nobody_hears_of_it_and_both_answers_are_compared(tmp_path):
    async with place(tmp_path, bad=True, policy=ROLLOUT.replace("min_calls = 20", "min_calls = 500")) as (
        settings, store, second, client,
    ):  # fmt: skip
        await promote(second, settings, store, to="shadow")
        await asyncio.sleep(1)
        assert {await ask(client, i) for i in range(30)} == {"tickets@1.0.0"}
        await asyncio.sleep(1)
        counted, _ = await store.trials(second.name, "", "")
        assert counted.calls == 30
        assert counted.agreed == 0
        assert (await store.release("tickets", "1.1.0")).stage == "shadow"
        means = (await standing(await store.release("tickets", "1.1.0"), settings, store)).means
        assert means.calls == 30 and means.ours_ms > 0 < means.theirs_ms
        first = (await store.records("tickets", 1))[0]
        trial = await store.trial(first.id)
        assert (trial.theirs.release, trial.ours.release) == ("tickets@1.0.0", "tickets@1.1.0")
        assert trial.theirs.value != trial.ours.value
        assert len(await store.records("tickets", 100)) == 30


async def test_a_fault_of_ours_beside_a_call_costs_that_call_of_the_trial_alone(tmp_path, monkeypatch):
    true, times = trying.beside, itertools.count()

    async def faulty(*given):
        if next(times) < 5:
            raise ZeroDivisionError
        return await true(*given)

    monkeypatch.setattr(trying, "beside", faulty)
    async with place(tmp_path, policy=ROLLOUT.replace("min_calls = 20", "min_calls = 500")) as (
        settings, store, second, client,
    ):  # fmt: skip
        await promote(second, settings, store, to="shadow")
        await asyncio.sleep(1)
        for i in range(30):
            await ask(client, i)
        await asyncio.sleep(1)
        counted, _ = await store.trials(second.name, "", "")
        assert counted.calls == 25


async def test_it_ends_at_whatever_moment_of_news_it_is_told_to(tmp_path):
    settings = folder(tmp_path)
    async with await Store.open(settings) as store:
        desk = create_app(settings, store, {}).state.desk
        for moment in range(6):
            moving = asyncio.create_task(_advance(desk, lambda: True))
            await asyncio.sleep(0.01)
            desk.trying.noted.set()
            for _ in range(moment):
                await asyncio.sleep(0)
            moving.cancel()
            ended, _ = await asyncio.wait([moving], timeout=2)
            assert ended, f"not where it is told {moment} turns after the news"


async def test_what_goes_on_beside_the_calls_goes_on_after_a_fault_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(app_of_gateway, "FOLLOW_S", 0.01)
    looked = []

    async def faulty(*_):
        looked.append(1)
        raise OSError("too many open files")

    settings = folder(tmp_path)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {}, follow=True)
        monkeypatch.setattr(app_of_gateway, "keep_books", faulty)
        async with socket_of(app), asyncio.timeout(5):
            while len(looked) < 3:
                await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_canary_gets_its_share_the_same_text_the_same_release_and_goes_out_at_once(tmp_path):
    async with place(tmp_path, policy=ROLLOUT.replace("min_calls = 20", "min_calls = 5000")) as (
        settings, store, second, client,
    ):  # fmt: skip
        await promote(second, settings, store, to="canary", share=50)
        assert 15 <= (await followed(client)).count("tickets@1.1.0") <= 45
        for named in ("tickets@1.0.0", "tickets@1.1.0"):
            assert {await ask(client, i, named) for i in range(30)} == {named}, "who names a version gets that one"
        change = await rollback("tickets", settings, store, why="drill")
        assert (change.before, change.after) == ("canary", "retired")
        assert set(await followed(client)) == {"tickets@1.0.0"}
        assert (await store.live("tickets")).name == "tickets@1.0.0"


async def test_what_is_worse_goes_back_by_itself_on_what_people_said(tmp_path):
    policy = ROLLOUT.replace("min_calls = 20", "min_calls = 5000")
    async with place(tmp_path, bad=True, policy=policy) as (settings, store, second, client):
        await promote(second, settings, store, to="shadow")
        await asyncio.sleep(1)
        for i in range(40):
            await ask(client, i)
        await asyncio.sleep(1)
        waiting = await store.pending("tickets")
        assert {one.reason for one in waiting} == {"the release on trial answers otherwise"}
        for one in waiting:
            await store.settle(Review(record=one.record, verdict="right"))
        await ask(client, 41)
        await stage_of(store, "retired")
        last = (await store.stage_changes("tickets"))[-1]
        assert last.who == "insource"
        assert "wrong oftener than what is live: 40 calls" in last.why


async def test_nothing_is_tried_without_a_live_release_and_one_at_a_time(tmp_path):
    settings = folder(tmp_path)
    async with await Store.open(settings) as store:
        first = await gated(store, await release(settings, store))
        with pytest.raises(Conflict, match="nothing of tickets is live"):
            await promote(first, settings, store, to="canary")
        await promote(first, settings, store)
        second, third = [await gated(store, await release(settings, store)) for _ in range(2)]
        change = await promote(second, settings, store, to="canary")
        assert change.share == 10
        with pytest.raises(Conflict, match=r"tickets@1\.1\.0 is on trial"):
            await promote(third, settings, store, to="shadow")


async def test_a_policy_that_is_required_lets_no_stage_be_left_out(tmp_path):
    settings = folder(tmp_path)
    file = tmp_path / "tasks" / "tickets.toml"
    file.write_text(file.read_text() + "[rollout]\nrequired = true\n")
    async with await Store.open(settings) as store:
        await promote(await gated(store, await release(settings, store)), settings, store)
        second = await gated(store, await release(settings, store))
        with pytest.raises(Refused, match="next is staging"):
            await promote(second, settings, store)
        await promote(second, settings, store, to="staging")
        second = await store.release("tickets", "1.1.0")
        with pytest.raises(Refused, match="next is shadow"):
            await promote(second, settings, store, to="canary")


async def test_the_share_of_given_answers_that_a_person_looks_at_stands_in_the_tasks_file(tmp_path):
    settings = folder(tmp_path)
    file = tmp_path / "tasks" / "tickets.toml"
    file.write_text(file.read_text().replace("threshold = 0.5", "threshold = 0.5\naudit = 0.25"))
    async with await Store.open(settings) as store:
        await go_live(store, (await release(settings, store)).name)
        path = await open_path("tickets", settings, store)
        assert path.audit == 0.25
        await close_path(path)
