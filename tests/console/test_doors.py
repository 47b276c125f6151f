"""Who may see which page, what a form must bring, and what no page lets through."""

import re

import httpx2 as httpx
import pytest
from seated import FORM, Place, seated, send

from insource.console.app import OPEN, PAGES
from insource.console.guard import own_path
from insource.console.sessions import IDLE_S, MOST, Sessions
from insource.journeys import keys
from insource.nouns import Release, StageChange

ROLES = ("caller", "reviewer", "operator", "admin")
SCRIPT = "<script>alert(1)</script>"


def test_every_page_says_who_may_see_it():
    assert all(page.roles for page in PAGES)
    assert {route.path for route in OPEN} == {"/login", "/static/{digest}/{name}"}


def filled(path: str, record: str = "") -> str:
    return "/console" + path.replace("{task}", "tickets").replace("{record}", record).replace("{report}", "none")


@pytest.mark.parametrize("identity", ["nobody", *ROLES])
async def test_each_page_to_each_role(tmp_path, identity):
    async with seated(tmp_path, network=True) as place:
        record = (await place.asked("unsure what this is")).id
        key = "" if identity == "nobody" else await place.key(identity, identity)
        async with place.seat() as web:
            if key:
                await web.post("/console/login", data={"key": key})
            for page in PAGES:
                path = filled(page.path, record)
                method = "POST" if "POST" in page.methods else "GET"
                found = await web.request(method, path, follow_redirects=False)
                if identity == "nobody":
                    assert (found.status_code, "login" in found.headers["location"]) == (303, True), path
                    assert "tickets" not in found.text
                elif identity in page.roles and method == "GET":
                    assert found.status_code in (200, 404), (path, found.status_code)
                    assert (found.status_code == 404) == (page.path == "/reports/{report}"), path
                else:  # another role, or a form without its token
                    assert found.status_code in (403, 422), (path, found.status_code)


async def test_a_form_from_elsewhere_changes_nothing(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        record = (await place.asked("unsure what this is")).id
        page = "/console/tasks/tickets/review"
        form = FORM.search((await web.get(page)).text)[1]
        right = {"form": form, "record": record, "act": "right"}
        for headers, body in [
            ({}, {**right, "form": ""}),
            ({}, {**right, "form": form[::-1]}),
            ({"sec-fetch-site": "cross-site"}, right),
            ({"sec-fetch-site": "same-site"}, right),
            ({"origin": "http://evil.example"}, right),
            ({"content-type": "text/plain"}, right),
        ]:
            found = await web.post(page, data=body, headers=headers)
            assert found.status_code in (403, 422), (headers, found.status_code)
        async with place.browser() as other:  # the same token from another browser
            assert (await other.post(page, data=right)).status_code in (200, 403)
        assert len(await place.store.pending("tickets")) == 1
        assert (await web.post(page, data=right)).status_code == 200  # the control: as the page sends it
        assert await place.store.pending("tickets") == []


async def test_every_answer_is_sealed(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        record = (await place.asked("unsure what this is")).id
        paths = [filled(page.path, record) for page in PAGES if "GET" in page.methods]
        for path in [*paths, "/console/login", "/console/nowhere", "/console/tasks/none"]:
            found = await web.get(path)
            policy = found.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, path
            assert "unsafe-inline" not in policy, path
            assert found.headers["cache-control"] == "no-store" and found.headers["x-frame-options"] == "DENY", path
            assert not re.search(r"<script(?![^>]* src=)", found.text) and " onclick" not in found.text, path
            assert not re.search(r'\sstyle="', found.text), path
            assert not re.search(r'(?:src|href|action)="(?:https?:)?//', found.text), path


async def test_texts_of_strangers_are_shown_and_nothing_more(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        record = (await place.asked(f"unsure {SCRIPT} \x1b[31m \u202e")).id
        for path in ("/console/tasks/tickets/review", f"/console/calls/{record}"):
            text = (await web.get(path)).text
            assert SCRIPT not in text and "&lt;script&gt;alert(1)" in text, path
            assert "\x1b" not in text and "\u202e" not in text, path
        found = await web.get("/console/calls", params={"release": SCRIPT, "below": '"><b>'})
        assert SCRIPT not in found.text and "<b>" not in found.text


async def test_a_session_ends_with_its_key(tmp_path):
    async with seated(tmp_path, network=True) as place:
        key = await place.key("ada", "admin")
        async with place.seat(key) as web:
            assert "ada" in (await web.get("/console/")).text
            assert key not in str(web.cookies) and key not in (await web.get("/console/")).text
            held = (await place.store.keys())[0][0]
            await keys.revoke(place.store, held.id)
            async with httpx.AsyncClient(base_url=place.url) as other:  # any call makes the gateway look
                await other.get("/v1/models", headers={"authorization": f"Bearer {await place.key('bob', 'admin')}"})
            gone = await web.get("/console/", follow_redirects=False)
            assert gone.status_code == 303 and "login" in gone.headers["location"]


async def test_signing_in_and_out(tmp_path):
    async with seated(tmp_path, network=True) as place:
        key = await place.key("ada", "reviewer")
        async with place.browser() as web:
            asked = await web.get("/console/calls?task=tickets")
            assert asked.url.path == "/console/login" and "next" in str(asked.url)
            wrong = await web.post("/console/login", data={"key": key[:-1] + ("a" if key[-1] != "a" else "b")})
            assert wrong.status_code == 401 and key[:20] not in wrong.text
            came = await web.post("/console/login", data={"key": key, "next": "/console/calls?task=tickets"})
            assert str(came.url).endswith("/console/calls?task=tickets")
            cookie = came.history[0].headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/console" in cookie
            await send(web, "/console/", "/console/logout")
            assert (await web.get("/console/")).url.path == "/console/login"


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/",
        "//evil.example/console",
        "/console/../v1",
        "/\\evil",
        "javascript:1",
        "/v1",
        "",
        "/console\n",
    ],
)
def test_nobody_is_sent_elsewhere(text):
    assert own_path(text) == "/console" or own_path(text).startswith("/console/")
    assert "evil" not in own_path(text)


async def test_tenants_see_nothing_of_each_other(tmp_path):
    async with seated(tmp_path, network=True) as place:
        theirs = (await place.asked("unsure about theirs", tenant="them")).id
        ours = (await place.asked("unsure about ours", tenant="us")).id
        reviewer = await place.key("ada", "reviewer", tenant="us")
        async with place.seat(reviewer) as web:
            assert theirs not in (await web.get("/console/calls")).text
            assert ours in (await web.get("/console/calls")).text
            assert (await web.get(f"/console/calls/{theirs}")).status_code == 404
            for _ in range(3):
                page = (await web.get("/console/tasks/tickets/review")).text
                assert "about theirs" not in page
            assert "about ours" in page
            found = await send(web, "/console/tasks/tickets/review", record=theirs, act="right")
            assert found.status_code in (404, 409), found.status_code
        assert {one.record for one in await place.store.pending("tickets")} == {theirs, ours}
        async with place.seat(await place.key("eve", "admin", tenant="us")) as web:
            assert theirs in (await web.get("/console/calls")).text  # who runs the whole sees all


async def test_scopes_hide_tasks(tmp_path):
    async with seated(tmp_path, network=True) as place:
        record = (await place.asked("unsure what")).id
        async with place.seat(await place.key("ada", "admin", scopes=("other",))) as web:
            assert "tickets" not in (await web.get("/console/")).text
            for path in ("tasks/tickets", "tasks/tickets/review", "tasks/tickets/drift", f"calls/{record}"):
                assert (await web.get(f"/console/{path}")).status_code == 404, path


async def test_too_large_a_form_is_refused(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        found = await send(web, "/console/", "/console/look", back="x" * 300_000)
        assert found.status_code == 422


def test_sessions_end_when_idle_and_the_oldest_go_first():
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    first = sessions.begin()
    now[0] = IDLE_S - 1
    assert sessions.of(first.token) is first  # used: it holds on
    now[0] += IDLE_S - 1
    assert sessions.of(first.token) is first
    now[0] += IDLE_S + 1
    assert sessions.of(first.token) is None
    kept = [sessions.begin() for _ in range(MOST + 1)]
    assert sessions.of(kept[0].token) is None and sessions.of(kept[1].token) is kept[1]
    assert len({one.form for one in kept} | {one.token for one in kept}) == 2 * len(kept)


async def released(place: Place) -> Release:
    release = Release(task="tickets", version="1.0.0", engine="linear", base="linear", dataset="", recipe="",
                      artefact="0" * 64, folder="none", created="2026-11-01T00:00:00+00:00")  # fmt: skip
    await place.store.add_release(release)
    return release


async def test_a_way_back_is_offered_only_where_there_is_one(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        await released(place)
        change = StageChange(release="tickets@1.0.0", before="candidate", after="live", who="ada", why="first",
                             evidence="report", created="2026-11-02T00:00:00+00:00")  # fmt: skip
        await place.store.change_stage(change)
        page = (await web.get("/console/tasks/tickets/move?release=tickets@1.0.0")).text
        assert "nothing to go back to" in page and 'value="back"' not in page


async def test_a_reviewer_cannot_promote_and_what_forbids_a_move_is_said(tmp_path):
    async with seated(tmp_path, network=True) as place:
        await released(place)
        page = "/console/tasks/tickets/move?release=tickets@1.0.0"
        async with place.seat(await place.key("ada", "reviewer")) as web:
            assert (await web.get(page)).status_code == 403
        async with place.seat(await place.key("bob", "operator")) as web:
            for fields, said in [
                ({"to": "live", "why": ""}, "takes a reason"),
                ({"to": "live", "why": "now"}, "has not been through the gate"),
                ({"to": "heaven", "why": "now"}, "is no stage"),
                ({"to": "back", "why": "now"}, "no release to roll back to"),
            ]:
                found = await send(web, page, release="tickets@1.0.0", **fields)
                assert found.status_code == 409 and said in found.text, (fields, found.text)
            assert await place.store.stage_changes("tickets") == []
            done = await send(web, page, release="tickets@1.0.0", to="retired", why="not wanted")
            assert done.status_code == 200
        (change,) = await place.store.stage_changes("tickets")
        assert (change.who, change.why, change.after) == ("bob", "not wanted", "retired")
