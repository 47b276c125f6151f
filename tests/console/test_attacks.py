"""What somebody tried who meant no good, or who has a browser full of other things."""

import asyncio
import logging

import pytest
from seated import seated, send

from insource.console import review
from insource.console.guard import own_path
from insource.console.reports import without_texts
from insource.console.sessions import COOKIE, EACH, Sessions
from insource.journeys.review import Said, settle
from insource.nouns import Candidate, Failures, Latency, Release, Report
from insource.review import Piece, marked
from insource.settings import load_task

REVIEW = "/console/tasks/tickets/review"
RELEASE = Release(task="tickets", version="1.0.0", engine="linear", base="linear", dataset="", recipe="",
                  artefact="0" * 64, folder="none", created="2026-11-01T00:00:00+00:00")  # fmt: skip


@pytest.mark.parametrize("text", ["//[", "/console//[x", "http://[::1", "//\u2100/console"])
async def test_where_to_go_next_is_no_address(tmp_path, text):
    assert own_path(text).startswith("/console")
    async with seated(tmp_path, network=True) as place, place.browser() as web:
        assert (await web.get("/console/login", params={"next": text})).status_code == 200
        assert (await web.post("/console/login", data={"next": text, "key": "x"})).status_code == 401


async def test_odd_parameters_are_no_fault_of_ours(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        for query in ({"before": "9" * 5_000}, {"before": "٣"}, {"below": "nan"}, {"below": "1e999"}, {"since": "\0"}):
            assert (await web.get("/console/calls", params=query)).status_code == 200, query
        await place.store.add_release(RELEASE)
        asked = {"release": "tickets@1.0.0", "to": "canary", "why": "x", "share": "9" * 5_000}
        assert (await send(web, "/console/tasks/tickets/move", **asked)).status_code == 409
        found = await send(web, "/console/", "/console/look", back="//[")
        assert found.status_code == 200


async def test_the_host_that_a_caller_names_is_read_by_no_page(tmp_path):
    async with seated(tmp_path, network=True) as place, place.browser() as web:
        for host in ("[", "[::1", "evil.example/console/x?"):
            found = await web.get("/console/calls?task=a", headers={"host": host}, follow_redirects=False)
            assert found.status_code == 303, host
            assert found.headers["location"] == "/console/login?next=/console/calls%3Ftask%3Da"
        async with place.seat(await place.key("ada", "admin")) as mine:
            assert (await mine.get("/console/calls", headers={"host": "["})).status_code == 200


@pytest.mark.parametrize("other", ['a={"b": "c"}', "a=b[]; c d=e", "x@y=1", '"', "=;;="])
async def test_cookies_of_another_port_of_this_machine_hide_no_session(tmp_path, other):
    async with seated(tmp_path) as place, place.seat() as web:
        await web.get("/console/")
        mine = f"{COOKIE}={web.cookies[COOKIE]}"
        async with place.browser() as raw:
            for said in (f"{other}; {mine}", f"{mine}; {other}"):
                found = await raw.get("/console/", headers={"cookie": said}, follow_redirects=False)
                assert found.status_code == 200, said


async def test_a_link_from_elsewhere_begins_no_session(tmp_path):
    async with seated(tmp_path) as place, place.browser() as web:
        found = await web.get("/console/", headers={"sec-fetch-site": "cross-site"}, follow_redirects=False)
        assert found.status_code == 403 and "set-cookie" not in found.headers
        assert (await web.get("/console/", headers={"sec-fetch-site": "same-origin"})).status_code == 200


async def test_a_fault_of_ours_is_sealed_and_told_once(tmp_path, caplog):
    async def broken(_: object) -> None:
        raise RuntimeError("secret")

    async with seated(tmp_path) as place, place.browser() as web:
        (console,) = [route.app for route in place.app.routes if getattr(route, "path", "") == "/console"]
        console.add_route("/broken", broken)
        with caplog.at_level(logging.ERROR):
            found = await web.get("/console/broken")
        assert found.status_code == 500 and "secret" not in found.text and "Traceback" not in found.text
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert found.headers["cache-control"] == "no-store"
        assert len([one for one in caplog.records if one.exc_info]) == 1


async def test_an_error_names_no_folder(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        await web.get("/console/")
        (tmp_path / "tasks" / "tickets.toml").write_text("no task")
        found = await web.get("/console/tasks/tickets")
        assert found.status_code >= 400 and "tickets.toml" in found.text and str(tmp_path) not in found.text


async def test_nobody_leaves_for_later_what_they_may_not_see(tmp_path):
    async with seated(tmp_path, network=True) as place:
        theirs = (await place.asked("unsure about theirs", tenant="them")).id
        for text in ("unsure one", "unsure two", "unsure three"):
            await place.asked(text, tenant="us")
        async with place.seat(await place.key("ada", "reviewer", tenant="us")) as web:
            for record in [theirs, *[f"none {i}" for i in range(5)]]:
                assert (await send(web, REVIEW, record=record, act="skip")).status_code == 409, record
            assert "left for later" not in (await web.get(REVIEW)).text
        async with place.seat(await place.key("bob", "reviewer", tenant="us")) as web:
            assert "The text" in (await web.get(REVIEW)).text  # ada holds one of the three, not all of them


async def test_a_tenant_learns_no_figure_of_another(tmp_path):
    async with seated(tmp_path, network=True) as place:
        task = load_task(place.settings, "tickets")
        for i in range(7):
            await place.asked(f"unsure {i}", tenant="them")
        done = (await place.asked("unsure and settled", tenant="them")).id
        await settle(task, place.store, done, Said(verdict="right", reviewer="eve"))
        async with place.seat(await place.key("ada", "reviewer", tenant="us")) as web:
            overview = (await web.get("/console/")).text
            assert "7 to review" not in overview and "not known yet" in overview
            assert "<strong>7</strong> wait" not in (await web.get(REVIEW)).text
            assert "Nothing waits for a person" in (await web.get(REVIEW)).text
        async with place.seat(await place.key("bob", "admin", tenant="us")) as web:
            overview = (await web.get("/console/")).text
            assert "7 to review" in overview and "100.0%" in overview


async def test_an_operator_reads_no_text_and_no_note(tmp_path):
    async with seated(tmp_path, network=True) as place:
        record = (await place.asked("unsure about my secret")).id
        said = Said(verdict="unsure", note="she writes of her secret", reviewer="ada")
        await settle(load_task(place.settings, "tickets"), place.store, record, said)
        async with place.seat(await place.key("olga", "operator")) as web:
            assert "secret" not in (await web.get(f"/console/calls/{record}")).text
        async with place.seat(await place.key("ada", "reviewer")) as web:
            assert "of her secret" in (await web.get(f"/console/calls/{record}")).text


async def test_a_report_quotes_its_rows_to_an_admin_alone(tmp_path):
    async with seated(tmp_path, network=True) as place:
        report = quoting()
        await place.store.save_report(report)
        for role, sees in (("reviewer", False), ("operator", False), ("admin", True)):
            async with place.seat(await place.key(role, role)) as web:
                found = await web.get(f"/console/reports/{report.id}")
                assert found.status_code == 200 and "keyword" in found.text
                assert ("their secret" in found.text) is sees, role


def quoting() -> Report:
    confusion = {"output": "topic", "target": "a", "answer": "b", "n": 1, "of": 2, "examples": ["their secret"]}
    row = {"id": "1", "input": "their secret", "target": "a", "answers": {}}
    candidate = Candidate(candidate="keyword", kind="baseline", scores=(), latency_ms=Latency(p50=1, p95=1, p99=1),
                          usd_per_1k=None, failures=Failures(invalid=0, n=1, upper95=1.0),
                          details={"confusions": [confusion]})  # fmt: skip
    report = Report(id="r1", task="tickets", dataset="d", split="test", candidates=(candidate,), rows=(row,))
    assert "secret" not in str(without_texts(report)) and "secret" in str(report)
    return report


async def test_looking_for_a_label_has_a_bound(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(review, "matching", lambda _, words, *__: asked.append(len(words)) or [])
    async with seated(tmp_path) as place, place.seat() as web:
        for page, name in (("labels", "q"), ("review", "q-topic")):
            assert (await web.get(f"/console/tasks/tickets/{page}", params={name: "a " * 20_000})).status_code == 200
    assert asked and max(asked) <= 200


def test_marking_looks_for_so_many_values():
    text = "ab " * 3_000
    pieces = marked(text, {"all": ["ab"] * 3_000})
    assert "".join(piece.text for piece in pieces) == text
    assert sum(piece.field == "all" for piece in pieces) == 200
    assert marked("xaax", {"a": "xa", "b": "aa", "c": "ax"}) == [
        Piece(text="xa", field="a"), Piece(text="ax", field="c")]  # fmt: skip


def test_one_key_cannot_send_others_away():
    sessions = Sessions()
    theirs = sessions.begin(key="ada")
    mine = [sessions.begin(key="eve") for _ in range(2_000)]
    assert sessions.of(theirs.token) is theirs
    assert [sessions.of(one.token) is one for one in mine[-EACH - 1 :]] == [False] + [True] * EACH


async def test_two_people_cannot_settle_one_answer(tmp_path):
    async with seated(tmp_path, network=True) as place:
        record = (await place.asked("unsure what")).id
        keys = [await place.key(name, "reviewer") for name in ("ada", "bob")]
        async with place.seat(keys[0]) as ada, place.seat(keys[1]) as bob:
            tried = [send(web, REVIEW, record=record, act=act)
                     for web in (ada, bob) for act in ("right", "unsure")]  # fmt: skip
            codes = [found.status_code for found in await asyncio.gather(*tried)]
            assert codes.count(200) == 1, codes
            (_, said), *more = await place.store.reviews("tickets")
            assert not more
            other = bob if said.reviewer == "ada" else ada
            assert (await send(other, REVIEW, act="undo")).status_code == 409
            assert len(await place.store.reviews("tickets")) == 1


async def test_looking_at_every_entry_holds_nobody_up(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        await place.asked("refund please")
        await web.get("/console/")

        async def never() -> None:
            raise AssertionError("the gateway's own connection was used")

        place.store.verify_chain = never
        found = await asyncio.gather(*[web.get("/console/governance?verify=1") for _ in range(3)])
        assert all(one.status_code == 200 and "Whole" in one.text for one in found)
