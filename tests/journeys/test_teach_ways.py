"""Teaching meets the rest: the vendors' wires, scans, real weights, `improve`, and what counts as traffic."""

import sys
from pathlib import Path

import pytest
from teaching import PAID, SCRIPTED, fill, keep_rows, lesson, place, right_label, right_script, script, text

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, go_live, release

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import Invalid
from insource.journeys import asking
from insource.journeys.collect import collect
from insource.journeys.glance import glance
from insource.journeys.holdout import _settled
from insource.journeys.improve import Wanted, improve
from insource.journeys.lineup import quiet
from insource.journeys.pool import pool
from insource.journeys.status import status
from insource.journeys.teacher import shots_of
from insource.nouns import Example, Review, Scan, ScanPolicy, Task
from insource.settings import load_settings, load_task
from insource.store import Store

LOCAL = SCRIPTED.format(name="large", region="premises")
SAID = [Reply(match="money", text="refund"), Reply(match="where", text="status"), Reply(match="want", text="cancel")]
JSON = [
    Reply(match="money", text='{"intent":"refund"}'), Reply(match="where", text='{"intent":"status"}'),
    Reply(match="want", text='{"intent":"cancel"}'),
]  # fmt: skip
FAULTS = [
    Reply(match="money", status=429, retry_after="0", times=2),
    Reply(match="where", status=500, times=1),
    Reply(match="want", fault="reset", times=2),
    Reply(match="money", text="sandwich", times=1),
    Reply(match="where", fault="half", times=1),
    Reply(match="want", fault="bad_json", times=1),
    Reply(match="money", delay_s=1.5, times=1),
    Reply(match="This cannot be taken", text="refund"),
]  # fmt: skip


def human(number: int, split: str) -> Example:
    target = {"intent": right_label(number)}
    return Example(
        id=Example.identity("tickets", text(number), target), task="tickets", input=text(number), target=target,
        split=split,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama", "vllm", "groq", "together"])
async def test_every_wire_teaches_on_a_bad_day(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(asking, "PAUSE_S", 0.001)
    async with ScriptedServer([*FAULTS, *(SAID if kind == "vllm" else JSON)], kind=kind) as server:
        engine = PAID.format(name="large", url=server.base_url, more="").replace('"openai"', f'"{kind}"')
        settings = place(tmp_path, engine.replace("timeout_s = 2.0", "timeout_s = 1.0"))
        async with await Store.open(settings) as store:
            await fill(settings, store, 24)
            taught = await lesson(settings, store, budget=2.0)
            rows = await store.examples((await store.dataset("tickets")).id)
            assert {row.input: row.target["intent"] for row in rows} == {text(n): right_label(n) for n in range(24)}
            assert 0 < taught.usd_unknown < taught.usd
            assert taught.became == {"label": 24}
            assert sum(one.usd for one in await store.lessons.of("tickets")) <= 2.0


async def test_personal_data_is_taken_out_on_the_way_and_never_shown_as_an_example(tmp_path):
    pytest.importorskip("phonenumbers")
    scan = '[scan.input]\nemail = "redact"\n'
    async with ScriptedServer(SAID) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""), more=scan)
        task = tmp_path / "tasks" / "tickets.toml"
        task.write_text(task.read_text().replace(scan, "") + scan)
        async with await Store.open(settings) as store:
            mail = Example(id="a" * 64, task="tickets", input="x@example.org", target={"intent": "refund"})
            await keep_rows(store, [mail, human(300, "dev")])
            file = tmp_path / "pool.csv"
            file.write_text("text\nmoney back to ada@example.com please\n")
            await pool("tickets", [file], settings, store)
            taught = await lesson(load_settings(tmp_path), store, budget=1.0, shots=3)
            assert (taught.became, taught.plan.shots) == ({"label": 1}, 0)
            assert "ada@example.com" not in str(server.seen)
            assert "x@example.org" not in str(server.seen)
            rows = await store.examples((await store.dataset("tickets")).id)
            assert "money back to ada@example.com please" in {row.input for row in rows}


async def test_personal_data_in_an_answer_is_not_shown_with_it():
    pytest.importorskip("phonenumbers")
    schema = {"type": "object", "properties": {"mail": {"type": "string"}}}
    task = Task(name="t", kind="extract", schema=schema, scan=Scan(input=ScanPolicy(actions={"email": "redact"})))
    rows = [
        Example(id=name * 64, task="t", input=f"text {name}", target={"mail": mail}, split="train")
        for name, mail in (("a", "x@example.org"), ("b", "none"))
    ]
    assert await shots_of(task, rows, 3) == rows[1:]


async def test_what_a_scan_blocks_stays_aside_and_costs_nothing(tmp_path):
    pytest.importorskip("phonenumbers")
    async with ScriptedServer(SAID) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        task = tmp_path / "tasks" / "tickets.toml"
        task.write_text(task.read_text() + '[scan.input]\nemail = "block"\n')
        async with await Store.open(settings) as store:
            file = tmp_path / "pool.csv"
            file.write_text("text\nmoney back to ada@example.com please\nwhere is my lamp\n")
            await pool("tickets", [file], settings, store)
            taught = await lesson(load_settings(tmp_path), store, budget=1.0)
            assert taught.became == {"label": 1, "blocked": 1}
            assert len(server.seen) == 1
            assert taught.usd_unknown == 0.0


async def test_improve_trains_on_what_was_taught_and_collect_goes_on_after_it(tmp_path):
    settings = folder(tmp_path)
    (tmp_path / "hub.jsonl").write_text('{"match": "*", "value": {"intent": "cancel"}, "confidence": 0.9}\n')
    store = await Store.open(settings)
    async with store:
        first = await release(settings, store)
        await go_live(store, first.name)
        file = tmp_path / "pool.csv"
        file.write_text("text\n" + "".join(f"{text(n)}\n" for n in range(60)))
        await pool("tickets", [file], settings, store)
        taught = await lesson(settings, store, teacher="hub")
        assert taught.became == {"label": 60}
        improved = await improve(load_task(settings, "tickets"), settings, store, Wanted(base="linear"))
        made = await store.release("tickets", improved.release.partition("@")[2])
        assert made.dataset == taught.dataset != first.dataset
        (tmp_path / "more.csv").write_text("text,intent\nthe lamp is broken,refund\n")
        await collect("tickets", [tmp_path / "more.csv"], settings, store)


async def test_a_teachers_calls_are_no_traffic_and_its_verdicts_no_holdout(tmp_path):
    settings = place(tmp_path, LOCAL)
    right_script(tmp_path, "large", '{"match": "money", "value": {"intent": "status"}, "confidence": 0.2}')
    async with await Store.open(settings) as store:
        task = load_task(settings, "tickets")
        await fill(settings, store, 9)
        await lesson(settings, store)
        assert (await status(settings, store, "tickets"))[0].facts.calls == {}
        seen = await glance(task, settings, store)
        assert (seen.calls, seen.parts, seen.waiting) == (0, (), 3)
        waits = (await store.pending("tickets"))[0]
        await store.settle(
            Review(record=waits.record, verdict="wrong", corrected={"intent": "refund"}, decided="2026-11-02T00:00:00")
        )
        assert await _settled(task, store) == []
        assert (await glance(task, settings, store)).right is None


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_model_on_this_machine_teaches(tmp_path):
    engine = '[engines.large]\nkind = "embedded"\nmodel = "smollm2-135m"\n'
    settings = place(tmp_path, engine)
    from insource.engines.models import resolve

    resolve("smollm2-135m", settings.cache, progress=quiet)
    async with await Store.open(settings) as store:
        await keep_rows(store, [human(n, "train") for n in range(300, 306)] + [human(306, "dev"), human(307, "test")])
        await fill(settings, store, 6)
        taught = await lesson(settings, store, shots=3, sure=0.0)
        assert taught.became == {"label": 6}
        assert (taught.spent, taught.plan.shots) == (0.0, 3)
        lessons = await store.lessons.of("tickets")
        assert all(0 < one.confidence <= 1 and one.tokens[0] > 0 for one in lessons)
        assert all(one.target["intent"] in ("refund", "status", "cancel") for one in lessons)


async def test_an_extraction_is_taught_and_doubted_as_a_whole(tmp_path):
    settings = place(tmp_path, LOCAL, LOCAL.replace("large", "other"))
    (tmp_path / "tasks" / "tickets.toml").write_text(
        'name = "tickets"\nkind = "extract"\ninstruction = "What is it?"\n[schema]\ntype = "object"\n'
        'required = ["thing"]\n[schema.properties.thing]\ntype = "string"\n[schema.properties.price]\ntype = "number"\n'
    )
    lamp, chair = '{"thing": "lamp", "price": 9}', '{"thing": "chair"}'
    script(tmp_path, "large", f'{{"match": "lamp", "value": {lamp}}}', f'{{"match": "*", "value": {chair}}}')
    script(tmp_path, "other", f'{{"match": "*", "value": {lamp}}}')
    async with await Store.open(settings) as store:
        file = tmp_path / "pool.csv"
        file.write_text("text\na lamp for 9 euro\none chair\nanother lamp of ours\n")
        await pool("tickets", [file], settings, store)
        taught = await lesson(settings, store, second="other", share=1.0)
        assert taught.became == {"label": 2, "disputed": 1}
        rows = await store.examples((await store.dataset("tickets")).id)
        assert [row.target for row in rows] == [{"thing": "lamp", "price": 9}] * 2
        waits = await store.pending("tickets")
        assert [(one.input, one.value) for one in waits] == [("one chair", {"thing": "chair"})]


async def test_free_texts_are_taught_without_a_second_opinion(tmp_path):
    settings = place(tmp_path, LOCAL + SCRIPTED.format(name="other", region="premises"))
    (tmp_path / "tasks" / "tickets.toml").write_text('name = "tickets"\nkind = "generate"\ninstruction = "Say it."\n')
    script(tmp_path, "large", '{"match": "*", "text": "so be it"}')
    async with await Store.open(settings) as store:
        await fill(settings, store, 4)
        with pytest.raises(Invalid, match="always differ"):
            await lesson(settings, store, second="other")
        assert (await lesson(settings, store)).became == {"label": 4}
        rows = await store.examples((await store.dataset("tickets")).id)
        assert {row.target["text"] for row in rows} == {"so be it"}


async def test_what_a_server_complains_of_is_not_kept_for_it_may_quote_the_text(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "PAUSE_S", 0.001)
    async with ScriptedServer([Reply(status=403)]) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        async with await Store.open(settings) as store:
            await fill(settings, store, 40)
            taught = await lesson(settings, store, budget=1.0)
            assert taught.stopped.startswith("large failed 20 times in a row: large answered HTTP 403")
            assert set(taught.aside) == {"engine_error"}
            assert taught.usd == 0.0
