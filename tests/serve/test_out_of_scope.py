"""What the task knows no answer to is an outcome of its own: at every door, on record, in the queue, at the gate."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx2 as httpx
import msgspec
import pytest
from click.testing import CliRunner
from live_workspace import folder, go_live, rows
from serving import client, say, socket_of

from insource.cli.main import main
from insource.engines.artefact import read_manifest
from insource.engines.held_out import FILE
from insource.errors import Invalid
from insource.journeys.answer import answer
from insource.journeys.audit import usage
from insource.journeys.batch import batch
from insource.journeys.gate import gate
from insource.journeys.serve import close_path, open_live, open_path
from insource.journeys.status import status
from insource.journeys.terms import scope_check
from insource.journeys.train import train
from insource.nouns import Dataset, ask, digest, record_id
from insource.serve.app import create_app
from insource.settings import load_settings, load_task, task_file
from insource.store import Store

KNOWN, STRANGE = "please cancel my order number 7 thanks", "qué tiempo hará mañana en zaragoza"


def asked(root, share: float | None = 0.05, text: str = ""):
    """The workspace with a limit of false alarms."""
    file = root / "tasks" / "tickets.toml"
    file.write_text(file.read_text().replace("[risk]", f"[risk]\nout_of_scope = {share}" if share else "[risk]") + text)
    return load_settings(root)


async def release(settings, store):
    """A release whose rows held out say what its train rows say."""
    splits = ("train", "dev", "train", "test")
    examples = [msgspec.structs.replace(one, split=splits[i // 4 % 4]) for i, one in enumerate(rows())]
    dataset = Dataset(id=digest([e.id for e in examples]), task="tickets", counts={"train": 1})
    await store.save_dataset(dataset, examples)
    return await train(load_task(settings, "tickets"), settings, store, base="linear")


@asynccontextmanager
async def place(root, share: float | None = 0.05):
    folder(root)
    settings = asked(root, share)
    async with await Store.open(settings) as store:
        await go_live(store, (await release(settings, store)).name)
        yield settings, store


@asynccontextmanager
async def gateway(root):
    async with place(root) as (settings, store):
        paths, problems = await open_live(settings, store)
        assert not problems
        app = create_app(settings, store, paths)
        async with socket_of(app) as url:
            yield url, store, app


async def one(path, store, text: str):
    return await answer(ask(path.task, text, id=record_id()), path, store.append)


async def test_it_goes_to_a_person_at_once_and_no_other_engine_is_asked(tmp_path):
    async with place(tmp_path) as (settings, store):
        path = await open_path("tickets", settings, store)
        known, strange = await one(path, store, KNOWN), await one(path, store, STRANGE)
        await close_path(path)
        assert (known.outcome, known.attempts[0].decision.code) == ("answered", msgspec.UNSET)
        assert strange.outcome == "out_of_scope"
        (only,) = strange.attempts
        assert only.decision.code == "out_of_scope"
        assert "2.2% of the rows held out are as strange, at or below 5.0%" in only.decision.reason
        kept = await store.record(strange.id)
        assert (kept.outcome, kept.attempts[0].decision) == ("out_of_scope", only.decision)
        (waits,) = await store.pending("tickets")
        assert (waits.input, waits.worth, waits.reason) == (STRANGE, 1.0, only.decision.reason)
        assert (await store.verify_chain()).faults == ()
        (found,) = await status(settings, store)
        assert (found.facts.calls["out_of_scope"], found.facts.to_review) == (1, 0.5)
        assert sum(line.review for line in await usage(store, by="task")) == 1


async def test_without_the_key_nothing_is_called_strange(tmp_path):
    async with place(tmp_path, None) as (settings, store):
        path = await open_path("tickets", settings, store)
        assert path.tiers[0].terms is None
        record = await one(path, store, STRANGE)
        await close_path(path)
        assert record.outcome in ("answered", "review")


async def test_the_gateway_says_so_and_gives_no_label(tmp_path):
    async with gateway(tmp_path) as (url, store, _):
        ai = client(url)
        raw = await ai.chat.completions.with_raw_response.create(**say(STRANGE), logprobs=True)
        said = raw.parse()
        assert (raw.status_code, raw.headers["x-insource-decision"]) == (200, "out_of_scope")
        choice = said.choices[0]
        assert (choice.message.content, choice.logprobs) == (None, None)
        assert choice.message.refusal == "this is out of the task's scope; it waits for a person"
        chunks = [chunk async for chunk in await ai.chat.completions.create(**say(STRANGE), stream=True)]
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        assert "".join(delta.content or "" for delta in deltas) == ""
        assert [delta.refusal for delta in deltas if delta.refusal] == [choice.message.refusal]
        async with httpx.AsyncClient(base_url=url) as http:
            text = await http.post("/v1/completions", json={"model": "tickets", "prompt": STRANGE})
            assert (text.json()["choices"][0]["text"], text.json()["insource"]["decision"]) == ("", "out_of_scope")
            counted = (await http.get("/metrics")).text
        assert 'insource_calls_total{outcome="out_of_scope",status="200",task="tickets",tier="1"} 3' in counted
        assert 'result="out_of_scope"} 3' in counted
        assert len(await store.pending("tickets")) == 3


async def test_a_batch_has_a_row_of_it_without_an_output_and_without_an_error(tmp_path):
    async with place(tmp_path) as (settings, store):
        source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        source.write_text("".join(json.dumps({"id": i, "input": t}) + "\n" for i, t in enumerate((KNOWN, STRANGE))))
        path = await open_path("tickets", settings, store)
        found = await batch(source, out, path, store)
        again = await batch(source, out, path, store)
        await close_path(path)
        first, second = map(json.loads, out.read_text().splitlines())
        assert (first["decision"], first["output"]) == ("answered", {"intent": "cancel"})
        assert (second["decision"], second["output"], second["error"]) == ("out_of_scope", None, None)
        assert (found.answered, found.review, found.failed, again.reused) == (1, 1, 0, 2)


async def test_the_gate_refuses_a_release_that_cannot_tell_and_names_the_labels_missing(tmp_path):
    async with place(tmp_path, 0.01) as (settings, store):
        file = settings.root / "tasks" / "tickets.toml"
        file.write_text(file.read_text() + "[acceptance]\naccuracy = 0.5\n")
        live = await store.live("tickets")
        checks = {c.name: c for c in (await gate(load_task(settings, "tickets"), live, settings, store)).checks}
        assert not checks["out of scope"].passed
        assert "55 more labelled dev rows are needed" in checks["out of scope"].found
        file.write_text(file.read_text().replace("out_of_scope = 0.01", "out_of_scope = 0.05"))
        checks = {c.name: c for c in (await gate(load_task(settings, "tickets"), live, settings, store)).checks}
        assert checks["out of scope"].passed
        assert (
            checks["out of scope"].found
            == "at most 5.0% of inputs like the 44 rows held out are taken for out of scope"
        )


async def test_a_release_from_before_answers_as_it_did_and_says_what_it_cannot(tmp_path):
    async with place(tmp_path) as (settings, store):
        live = await store.live("tickets")
        old = settings.state / live.folder
        manifest = json.loads((old / "manifest.json").read_bytes())
        del manifest["files"][FILE]
        (old / FILE).unlink()
        (old / "manifest.json").write_text(json.dumps(manifest))
        artefact = digest((old / "manifest.json").read_bytes())
        await store.add_release(msgspec.structs.replace(live, version="0.9.0", artefact=artefact, stage="retired"))
        path = await open_path("tickets@0.9.0", settings, store)
        assert path.tiers[0].terms.scope is None
        assert (await one(path, store, KNOWN)).outcome == "answered"
        await close_path(path)
        risk = task_file(settings, "tickets")[1].risk
        (check,) = scope_check(risk, read_manifest(old), old)
        assert not check.passed
        assert "train it again" in check.found


def test_the_terminal_explains_it(tmp_path):
    async def work():
        async with place(tmp_path):
            pass

    asyncio.run(work())
    done = CliRunner().invoke(main, ["-C", str(tmp_path), "answer", "tickets", "--input", STRANGE])
    assert done.exit_code == 0, done.output
    assert "nothing is answered: it is out of the task's scope" in done.output
    assert "decision: out_of_scope" in done.output
    shown = CliRunner().invoke(main, ["-C", str(tmp_path), "release", "show", "tickets@1.0.0"]).output
    assert "at most 5.0% of inputs like the 44 rows held out are taken for out of scope" in shown
    said = CliRunner().invoke(main, ["-C", str(tmp_path), "status", "tickets"]).output
    assert "1 of them out of scope" in said


async def test_a_limit_of_a_field_that_there_is_not_is_wrong_input(tmp_path):
    folder(tmp_path)
    settings = asked(tmp_path, None, "[risk.fields]\nprice = 0.01\n")
    with pytest.raises(Invalid, match=r"risk\.fields names 'price', which is no field of the task"):
        load_task(settings, "tickets")
