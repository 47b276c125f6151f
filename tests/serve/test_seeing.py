"""The numbers and the log of a gateway say what its records say, and nothing of what its callers wrote."""

import asyncio
import json
import logging
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import client, path_of, say, tickets, workspace
from watching import watched

from command_line import started
from insource.engines.scripted import Rule, Scripted
from insource.errors import Invalid
from insource.journeys import keys
from insource.nouns import Attempt, Decision, Key, Observe, Prediction, Record, Role, Usage
from insource.serve.log import JsonLines
from insource.serve.metrics import MOST, OTHERS, Metrics, Now
from insource.serve.outage import Seen
from insource.serve.told import result_of, status_of
from insource.settings import EngineSettings
from insource.store import Store
from pace import within

CALLS = ("refund please", "unsure of this", "broken", "down", "anything")
NOTHING = Now(in_flight=0, queue=1, live={}, servers={}, waiting={})


async def made(store: Store, name: str, role: Role) -> str:
    return (await keys.create(store, Key(id="", name=name, roles=(role,))))[1]


async def numbers(url: str, key: str = "") -> dict[tuple[str, ...], float]:
    """Name and labels (by the names of the labels) of each sample → its value."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=url, headers=headers) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def parsed(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *[value for _, value in sorted(sample.labels.items())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def ask(ai: openai.AsyncOpenAI, text: str, model: str = "tickets", **more) -> int:
    """The status of a call."""
    try:
        answer = await ai.chat.completions.create(**say(text, model, **more))
        if more.get("stream"):
            async for _ in answer:
                pass
    except openai.APIStatusError as error:
        return error.status_code
    except openai.APIError:
        return 0
    return 200


async def test_the_numbers_are_those_of_the_records_and_the_statuses_those_that_callers_got(tmp_path):
    async with watched(tmp_path) as (url, store, _, lines), client(url) as ai:
        got = Counter([await ask(ai, text) for text in CALLS for _ in range(3)])
        got += Counter([await ask(ai, text, "hub", stream=True) for text in ("hello", "break off") for _ in range(2)])
        records = await store.records(limit=100)
        found = await numbers(url)
    calls = {key[1:]: n for key, n in found.items() if key[0] == "insource_calls_total"}
    kept = Counter((r.outcome, str(status_of(r)), r.task or "-", str(r.tier)) for r in records)
    assert calls == dict(kept)
    assert sum(calls.values()) == len(records) == 19
    told = Counter[int]()
    for key, n in calls.items():
        told[int(key[1])] += int(n)
    assert told == got, "a stream that fails before its first byte is told its status"
    usage = [a.prediction.usage for r in records for a in r.attempts if a.prediction]
    tokens = Counter[str]()
    for key, n in found.items():
        if key[0] == "insource_tokens_total":
            tokens[key[1]] += int(n)
    assert tokens == {"in": sum(u.input_tokens for u in usage), "out": sum(u.output_tokens for u in usage)}
    costs = sum(n for key, n in found.items() if key[0] == "insource_cost_usd_total")
    assert costs == pytest.approx(sum(r.usd for r in records)) != 0
    assert found["insource_review_waiting", "tickets"] == sum(r.outcome == "review" for r in records)
    assert found["insource_call_seconds_count", "tickets"] == 15
    assert found["insource_store_write_seconds_count",] == 19
    assert found["insource_live_release", "tickets@1.0.0", "tickets"] == 1
    assert found["insource_store_up",] == 1
    assert found["insource_in_flight",] == 0
    assert [(line["record"], line["outcome"], line["status"]) for line in lines] == [
        (r.id, r.outcome, status_of(r)) for r in reversed(records)
    ]


@pytest.mark.slow
async def test_what_is_turned_away_is_counted_apart_and_nothing_twice(tmp_path):
    async with watched(tmp_path, queue=1) as (url, store, _, lines), client(url) as ai:
        assert await ask(ai, "refund", "nobody") == 404
        assert await ask(ai, "refund", extra_headers={"origin": "http://elsewhere.example"}) == 403
        assert await ask(ai, "  ") == 422
        assert await ask(ai, "break off", "hub", stream=True) == 503
        slow = asyncio.create_task(ask(ai, "crawl", "hub"))
        while (await numbers(url))["insource_in_flight",] == 0:
            assert not slow.done()
        assert await ask(ai, "refund") == 429
        assert await slow == 200
        found = await numbers(url)
        records = await store.records(limit=9)
    refused = {key[1:]: n for key, n in found.items() if key[0] == "insource_refused_total"}
    assert refused == {
        ("not_found", "404"): 1, ("permission_denied", "403"): 1, ("invalid_request", "422"): 1,
        ("engine_busy", "429"): 1,
    }  # fmt: skip
    assert len(records) == 2
    # what the door refuses is a number, and a line a minute: a line each would cost more than refusing
    assert Counter(line["event"] for line in lines) == {"refused": 3, "call": 2}


async def test_a_server_that_rests_is_shown(tmp_path):
    away = EngineSettings(kind="openai", base_url="http://127.0.0.1:9/v1", model="m")
    async with watched(tmp_path, None, {"far": away}) as (url, _, _, lines), client(url) as ai:
        assert ("insource_server_rests", "far") not in await numbers(url)
        assert await ask(ai, "hello", "far") == 503
        assert (await numbers(url))["insource_server_rests", "far"] == 0
        for _ in range(4):
            assert await ask(ai, "hello", "far") == 503
        assert (await numbers(url))["insource_server_rests", "far"] == 1
    assert [line["status"] for line in lines] == [503] * 5


async def test_a_record_that_the_store_does_not_take_is_counted_and_no_call(tmp_path):
    async with watched(tmp_path) as (url, store, _, lines), client(url) as ai:
        assert await ask(ai, "refund") == 200
        await store._thread.run(lambda c: c.exec_driver_sql("CREATE TRIGGER no BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'no'); END"))  # fmt: skip # noqa: E501
        assert await ask(ai, "refund") == 503
        found = await numbers(url)
    assert found["insource_store_write_failures_total",] == 1
    assert sum(n for key, n in found.items() if key[0] == "insource_calls_total") == 1
    assert [line["event"] for line in lines] == ["call", "refused"]


@pytest.mark.usefixtures("interpreted")
async def test_a_fault_of_ours_is_counted_as_one(tmp_path, monkeypatch):
    async with watched(tmp_path) as (url, _, desk, lines), client(url) as ai:

        def broken(_):
            raise ZeroDivisionError("CANARY")

        monkeypatch.setattr(desk.meter, "settle", broken)
        assert await ask(ai, "refund") == 500
        found = await numbers(url)
    assert found["insource_refused_total", "internal_error", "500"] == 1
    assert [(line["event"], line["status"]) for line in lines] == [("refused", 500)]


async def test_only_operators_read_the_numbers_once_there_are_keys(tmp_path):
    async with watched(tmp_path) as (url, store, _, _), httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/metrics")).status_code == 200
        texts = {role: await made(store, role, role) for role in ("caller", "operator")}
        wanted = {"caller": 403, "operator": 200}
        for role, text in texts.items():
            answer = await http.get("/metrics", headers={"authorization": f"Bearer {text}"})
            assert answer.status_code == wanted[role]
        assert (await http.get("/metrics")).status_code == 401


HOSTILE = (
    'quote " and \\ and newline \n injected_total 1',
    'insource_calls_total{task="x"} 9e9 # HELP',
    "\u202e\u0000\x1b[31mred \ud7ff",
    "sk-live-51H8xSECRETKEYxSECRET",
    '{"event": "call", "record": "forged"}\n{"event":',
    "Maria Musterfrau, IBAN DE89370400440532013000",
)  # fmt: skip


async def test_no_text_and_no_key_stands_in_the_numbers_or_the_log(tmp_path, capfd):
    canary = "CANARY-7f3a"
    async with watched(tmp_path) as (url, store, desk, _):
        text = await made(store, "desk", "caller")
        raw = []
        desk.seeing._write = raw.append
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=text, max_retries=0) as ai:
            for words in HOSTILE:
                for prefix in ("refund ", "broken ", "down ", "unsure ", ""):
                    await ask(ai, f"{prefix}{canary} {words}")
                await ask(ai, f"{canary} {words}", "hub", stream=True)
                await ask(ai, f"break off {canary} {words}", "hub")
                await ask(ai, "refund", f"model {canary} {words}"[:250])
                await ask(ai, "refund", stop=[f"{canary}"], user=canary)
        operator = await made(store, "prometheus", "operator")
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {operator}"}) as http:
            page = (await http.get("/metrics")).text
    out, err = capfd.readouterr()
    seen = page + b"".join(raw).decode() + out + err
    assert len(raw) == len(HOSTILE) * 9
    for secret in (canary, text, text[-20:], operator[-20:], "SECRETKEY", "Musterfrau", "DE8937", "forged", "injected"):
        assert secret not in seen, secret
    assert all(line.count(b"\n") == 1 for line in raw)


def test_names_are_counted_apart_up_to_a_limit():
    metrics = Metrics()
    for i in range(MOST + 50):
        metrics.kept(record(task=f"t{i}", tenant=f"tenant{i}", engine=f"e{i}"), 0.001)
    found = parsed(metrics.page(NOTHING)[0].decode())
    for name in ("insource_tenant_calls_total", "insource_call_seconds_count"):
        values = {key[1]: n for key, n in found.items() if key[0] == name}
        assert len(values) == MOST + 1
        assert values[OTHERS] == 50


def record(task="tickets", tenant="local", engine="one", outcome="answered", reason="", finish="stop") -> Record:
    said = Prediction(text="", engine=engine, finish=finish, usage=Usage(input_tokens=12, output_tokens=3))
    decision = Decision(engine=engine, rule="task", accepted=outcome == "answered", reason=reason)
    attempt = Attempt(decision=decision, prediction=None if outcome == "failed" else said, usd=0.001)
    return Record(
        id="r", task=task, release=None, tenant=tenant, attempts=(attempt,), outcome=outcome, input_hash="",
        latency_ms=12.0, usd=0.001,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("record", "status", "result"),
    [
        (record(), 200, "accepted"),
        (record(outcome="review", reason="confidence 0.40 is below 0.85"), 200, "unsure"),
        (record(outcome="review", reason="the answer breaks the task's contract"), 502, "invalid"),
        (record(outcome="review", reason="output_invalid", finish="invalid"), 502, "invalid"),
        (record(outcome="review", reason="the answer was cut off before its end", finish="length"), 502, "length"),
        (record(outcome="failed", reason="engine_down"), 503, "failed"),
        (record(outcome="failed", reason="engine_timeout"), 504, "failed"),
        (record(outcome="failed", reason="engine_busy"), 429, "failed"),
        (record(outcome="failed", reason="the server stopped before the end"), 503, "failed"),
        (record(outcome="failed", reason="the caller left, or the server stopped, before the end"), 499, "failed"),
        (record(outcome="failed", reason="no code of ours"), 500, "failed"),
    ],
    ids=lambda value: value.attempts[0].decision.reason[:24] if isinstance(value, Record) else "",
)
def test_a_kept_record_tells_the_status_of_its_call(record, status, result):
    assert status_of(record) == status
    assert result_of(record.attempts[0]) == result


def test_a_count_takes_about_ten_microseconds():
    metrics, one = Metrics(), record()
    best = float("inf")
    for _ in range(20):
        began = time.process_time()
        for _ in range(1000):
            metrics.kept(one, 0.001)
        best = min(best, time.process_time() - began)
    assert within(best / 1000, 10e-6)


async def test_without_a_log_and_spans_nothing_is_written_or_wrapped(tmp_path, capfd):
    async with watched(tmp_path, Observe()) as (url, store, desk, _), client(url) as ai:
        assert await ask(ai, "refund") == 200
        path = path_of(store, tickets(), Scripted("one", (Rule(match="*", text="x"),)))
        assert desk.seeing.path(path) is path
    assert capfd.readouterr() == ("", "")


def test_the_exposition_has_both_formats():
    plain, kind = Metrics().page(NOTHING)
    assert kind.startswith("text/plain")
    newer, newer_kind = Metrics().page(NOTHING, "application/openmetrics-text; version=1.0.0")
    assert newer_kind.startswith("application/openmetrics-text")
    assert newer.endswith(b"# EOF\n")
    assert set(re.findall(rb"# TYPE (insource_\w+?)(?:_total)? ", plain)) == set(
        re.findall(rb"# TYPE (insource_\w+) ", newer)
    )


def test_a_gateway_told_to_log_json_says_nothing_else_on_stderr(tmp_path):
    workspace(tmp_path)
    (tmp_path / "insource.toml").write_text(
        '[serve]\nport = 0\n[engines.hub]\nkind = "scripted"\nscript = "hub.jsonl"\nmodel = "hub-large"\n'
    )
    process = started(tmp_path, "serve", "--log-json", "--json")
    try:
        url = json.loads(process.stdout.readline())["url"]
        body = {"model": "hub", "messages": [{"role": "user", "content": "CANARY"}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=20)
        assert answer.status_code == 200
        record = answer.headers["x-insource-record"]
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["record"] for line in lines if line["event"] == "call"] == [record]
    assert any(line["event"] == "notice" and line["message"].startswith("ready") for line in lines)
    assert {line["event"] for line in lines} == {"call", "notice"}
    assert "CANARY" not in err


def test_what_is_logged_of_an_error_is_its_kind_and_place_and_not_its_words():
    try:
        int("CANARY")
    except ValueError:
        record = logging.LogRecord(
            "uvicorn.error", logging.ERROR, "x.py", 1, "it failed\n%s", ("args",), sys.exc_info()
        )
    line = json.loads(JsonLines().format(record))
    assert line["error"] == "ValueError"
    assert line["where"][-1].startswith("test_seeing.py:")
    assert "CANARY" not in json.dumps(line)
    plain = logging.LogRecord("insource.serve", logging.WARNING, "x.py", 1, "not loaded: %s", ("a\nb",), None)
    assert json.loads(JsonLines().format(plain))["message"] == "not loaded: a\nb"


HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def shown_metrics() -> dict[str, set[str]]:
    """Every metric that the gateway can show (as families are named in queries) with its labels."""
    metrics = Metrics()
    metrics.kept(record(), 0.001)
    metrics.refused(Invalid("no"))
    live, cache = {"tickets": "tickets@1.0.0"}, {("tickets", "hit"): 1}
    spool = Seen(away=True, bytes=1, lines={"intent": 1})
    alerts = {("tickets", "watch drift"): 1.0}
    now = Now(
        0, 1, live, servers={"hub": True}, waiting={"tickets": 1}, cache=cache, spool=spool, alerts=alerts,
        replicas={("hub", "gpu-1:8000"): (True, 1)},
    )  # fmt: skip
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.page(now)[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_and_label_of_the_dashboard_is_there():
    board = json.loads((HOW_TO / "dashboard.json").read_text("utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += [one["expr"] for one in board["annotations"]["list"]]
    expressions += [one["definition"] for one in board["templating"]["list"] if "definition" in one]
    metrics = shown_metrics()
    used = set[str]()
    for expression in expressions:
        names = re.findall(r"\b(?:insource|process)_\w+", expression)
        assert names, expression
        assert set(names) <= set(metrics), expression
        used |= set(names)
        labels = {label for name in names for label in metrics[name]} | {"instance", "le"}
        for group in re.findall(r"\bby \(([^)]*)\)|on \(([^)]*)\)", expression):
            assert {one.strip() for one in "".join(group).split(",")} <= labels, expression
        assert set(re.findall(r"(\w+)=~?\"", expression)) <= labels, expression
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metrics if name.startswith("insource_")}
    assert families == {re.sub(r"_bucket$", "", name) for name in used if name.startswith("insource_")}, "not on it"
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(one["x"] + one["w"] <= 24 for one in places)
    assert len({panel["id"] for panel in board["panels"]}) == len(places)


def test_every_metric_is_in_the_how_to_with_its_labels():
    rows = re.findall(r"^\| (`insource_[^|]*)\|([^|]*)\|", (HOW_TO / "observe.md").read_text("utf-8"), re.MULTILINE)
    named = [(name, labels.strip()) for names, labels in rows for name in re.findall(r"`(\w+)`", names)]
    told = {name: set(filter(None, labels.split(", "))) for name, labels in named}
    metrics = {}
    for name, labels in shown_metrics().items():
        if name.startswith("insource_"):
            metrics.setdefault(re.sub(r"_(bucket|sum|count)$", "", name), set()).update(labels - {"le"})
    assert told == metrics
