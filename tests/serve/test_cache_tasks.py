"""Answers of tasks given again by a gateway: under one release and one policy."""

from contextlib import asynccontextmanager

import httpx2 as httpx
import live_workspace
import pytest
from serving import say, socket_of

from insource.journeys.serve import close_path, open_live, open_path
from insource.nouns import StageChange
from insource.serve.app import create_app
from insource.settings import CacheSettings, load_settings
from insource.store import Store

TEXT = "please refund my payment number 7 thanks"


@asynccontextmanager
async def tasks(root, *, task="", config=""):
    """A gateway with a live release; what is promoted meanwhile it takes up when told to."""
    settings = live_workspace.folder(root / "w")
    (settings.root / "insource.toml").write_text(live_workspace.CONFIG + config)
    (settings.root / "tasks" / "tickets.toml").write_text(task + live_workspace.TASK)
    settings = load_settings(settings.root)
    async with await Store.open(settings) as store:
        release = await live_workspace.release(settings, store)
        await live_workspace.go_live(store, release.name)
        paths, problems = await open_live(settings, store)
        assert not problems
        app = create_app(settings, store, paths)
        async with socket_of(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
            yield app.state.desk, store, settings, http


async def hit(http: httpx.AsyncClient, text=TEXT, *, model="tickets", **more) -> bool:
    answer = await http.post("/v1/chat/completions", json=say(text, model, **more))
    assert answer.status_code == 200, answer.text
    return answer.headers.get("x-insource-cache") == "hit"


@pytest.mark.parametrize(
    ("task", "config", "kept"),
    [
        ("", "", False),
        ("", "[cache]\non = true\n", False),
        ('sensitivity = "any"\n', "", False),
        ('sensitivity = "any"\n', "[cache]\non = true\n", True),
        ('sensitivity = ["eu"]\n', "[cache]\non = true\n", False),
        ("cache = true\n", "", True),
        ('sensitivity = "any"\ncache = false\n', "[cache]\non = true\n", False),
    ],
)
async def test_a_task_that_is_held_to_a_place_says_so_itself(tmp_path, task, config, kept):
    async with tasks(tmp_path, task=task, config=config) as (_, __, ___, http):
        assert [await hit(http) for _ in range(2)] == [False, kept]
        assert await hit(http, stream=True) is kept


async def test_a_rule_that_holds_some_calls_to_a_place_is_a_tasks_own_word(tmp_path):
    rule = '\n[[route]]\nsensitivity = "premises"\nwhen = { longer_than = 100 }\n'
    settings = live_workspace.folder(tmp_path / "w")
    on = "[cache]\non = true\n"
    async with await Store.open(settings) as store:
        release = await live_workspace.release(settings, store)
        await live_workspace.go_live(store, release.name)
        (settings.root / "insource.toml").write_text(live_workspace.CONFIG + on)
        for head, end, kept in (("", "", True), ("", rule, False), ("cache = true\n", rule, True)):
            text = f'sensitivity = "any"\n{head}{live_workspace.TASK}{end}'
            (settings.root / "tasks" / "tickets.toml").write_text(text)
            path = await open_path("tickets", load_settings(settings.root), store)
            await close_path(path)
            assert bool(path.scope) is kept


async def test_a_release_that_is_promoted_answers_anew_and_one_rolled_back_to_goes_on(tmp_path):
    async with tasks(tmp_path, task="cache = true\n") as (desk, store, settings, http):
        assert [await hit(http) for _ in range(2)] == [False, True]
        assert await hit(http, model="tickets")
        assert not await hit(http, model="tickets@1.0.0")  # the same release by another name: asked for once more
        (first,) = await store.releases("tickets")
        second = await live_workspace.release(settings, store)
        assert second.name != first.name
        await live_workspace.go_live(store, second.name, retire=first.name)
        assert await desk.follow() == []
        answer = await http.post("/v1/chat/completions", json=say(TEXT, "tickets"))
        assert (answer.headers["x-insource-release"], "x-insource-cache" in answer.headers) == (second.name, False)
        assert await hit(http)
        back = StageChange(release=first.name, before="retired", after="live", who="test", why="test")
        await store.change_stage(back, retire=second.name)
        assert await desk.follow() == []
        last = await http.post("/v1/chat/completions", json=say(TEXT, "tickets"))
        record = await store.record(last.headers["x-insource-record"])
        assert (record.release, record.cached, record.answer.value) == (first.name, True, {"intent": "refund"})


async def test_a_policy_that_changes_is_another_scope(tmp_path):
    settings = live_workspace.folder(tmp_path / "w")
    async with await Store.open(settings) as store:
        release = await live_workspace.release(settings, store)
        await live_workspace.go_live(store, release.name)

        async def scope(task: str, config: str = "") -> str:
            (settings.root / "insource.toml").write_text(live_workspace.CONFIG + config)
            (settings.root / "tasks" / "tickets.toml").write_text("cache = true\n" + task)
            path = await open_path("tickets", load_settings(settings.root), store)
            await close_path(path)
            return path.scope

        plain = await scope(live_workspace.TASK)
        assert plain == await scope(live_workspace.TASK)
        others = [
            await scope(live_workspace.TASK.replace("0.5", "0.6")),
            await scope(live_workspace.TASK.replace("cloud", "hub")),
            await scope(live_workspace.TASK + "[[route]]\nwhen = { longer_than = 9 }\n"),
            await scope('sensitivity = "any"\n' + live_workspace.TASK),
            await scope(live_workspace.TASK, "[engines.more]\nkind = 'scripted'\nscript = 'hub.jsonl'\n"),
        ]
        assert len({plain, *others}) == 6
        second = await live_workspace.release(settings, store)
        await live_workspace.go_live(store, second.name, retire=release.name)
        assert await scope(live_workspace.TASK) not in {plain, *others}


async def test_an_answer_that_waits_for_a_person_waits_again(tmp_path):
    text = 'cache = true\nsensitivity = "premises"\n'
    async with tasks(tmp_path, task=text) as (_, store, __, http):
        unsure = "zzz qqq"
        for _ in range(2):
            answer = await http.post("/v1/chat/completions", json=say(unsure))
            assert answer.headers["x-insource-decision"] == "review"
        assert len(await store.pending("tickets")) == 2


def test_the_settings_are_read_and_refused_as_any(tmp_path):
    (tmp_path / "insource.toml").write_text('[cache]\non = true\nmax_age_s = 5\nnot_for = ["x"]\n')
    assert load_settings(tmp_path).answers == CacheSettings(on=True, max_age_s=5.0, not_for=("x",))
    for wrong in ("max_age_s = 0", "max_entries = 0", "max_bytes = 1", "onn = true", 'on = "yes"'):
        (tmp_path / "insource.toml").write_text(f"[cache]\n{wrong}\n")
        with pytest.raises(Exception, match=wrong.partition(" ")[0]):
            load_settings(tmp_path)
