"""A cause is told once when it comes and once when it goes, whatever is killed, and to the configured host alone."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2 as httpx
import msgspec
import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder
from watching import watched

from insource.engines.webhook import secret_headers
from insource.errors import EngineDown, EngineError, Invalid, Outside
from insource.journeys.alerts import LOG, tell
from insource.journeys.egress import report
from insource.nouns import Cause, stamp
from insource.nouns.watching import Alerting
from insource.settings import load_settings
from insource.store import Store

DRIFT = Cause(cause="watch drift", words="intent moved", next="insource review tickets", evidence="abc")
NOW = stamp(1_790_000_000)
QUICK = (0.0, 0.0)


@asynccontextmanager
async def listening(statuses=()):
    """A webhook that answers with these statuses in turn, then 204; what it heard is yielded as (headers, body)."""
    heard, left = [], list(statuses)

    async def take(request: web.Request) -> web.Response:
        heard.append((dict(request.headers), json.loads(await request.read())))
        status = left.pop(0) if left else 204
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 307 else {})

    app = web.Application()
    app.router.add_post("/{any:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", heard
    finally:
        await runner.cleanup()


def told_to(settings, url, **more):
    return msgspec.structs.replace(settings, alerts=Alerting(webhook=url, region="premises", **more))


async def test_a_cause_is_told_once_when_it_comes_and_once_when_it_goes(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("HOOK", "x-secret=canary-secret, x-more=1")
    async with listening() as (url, heard), await Store.open(plain := folder(tmp_path)) as store:
        settings = told_to(plain, url, headers_env="HOOK")
        for night in range(3):
            words = f"intent moved by 0.{night}"
            await store.alerts.note("tickets", [msgspec.structs.replace(DRIFT, words=words)], [], NOW)
            told = await tell(settings, store)
            assert (told.logged, told.sent) == ((1, 1) if night == 0 else (0, 0))
        (open_now,) = await store.open_alerts("tickets")
        assert (open_now.words, open_now.since, open_now.state) == ("intent moved by 0.2", NOW, "open")
        assert await store.open_alerts("other") == []
        await store.alerts.note("tickets", [], ["watch drift", "never seen"], stamp(1_790_000_009))
        assert (await tell(settings, store)).sent == 1
        assert (await tell(settings, store)).sent == 0
        assert await store.open_alerts() == []
        await store.alerts.note("tickets", [DRIFT], [], NOW)
        assert (await tell(settings, store)).sent == 1
    assert [body["event"] for _, body in heard] == ["alert.open", "alert.closed", "alert.open"]
    first, closed, again = (body["alert"] for _, body in heard)
    assert first["id"] == closed["id"] != again["id"]
    assert closed["closed"] == stamp(1_790_000_009)
    assert heard[0][1]["text"] == "insource · tickets: watch drift: intent moved by 0.0 (next: insource review tickets)"
    assert all(headers["x-secret"] == "canary-secret" for headers, _ in heard)
    said = [record.getMessage() for record in caplog.records if record.name == LOG]
    assert len(said) == 3
    assert said[1] == "over: tickets: watch drift"
    egress = [one for one in (await report(plain)).egress if one.purpose == "alerts"]
    assert [(one.connections, one.refused) for one in egress] == [(3, 0)]


async def test_what_is_not_taken_is_tried_again_and_goes_on_where_it_stopped(tmp_path):
    async with listening([503, 204, 500, 500, 500]) as (url, heard), await Store.open(folder(tmp_path)) as store:
        settings = told_to(load_settings(tmp_path), url)
        await store.alerts.note("tickets", [DRIFT, Cause(cause="other", words="w")], [], NOW)
        with pytest.raises(EngineDown, match="takes no message: status 500"):
            await tell(settings, store, pauses_s=QUICK)
        assert [body["alert"]["cause"] for _, body in heard] == ["watch drift"] * 2 + ["other"] * 3
        told = await tell(settings, store, pauses_s=QUICK)
        assert (told.logged, told.sent) == (0, 1)
        assert heard[-1][1]["alert"]["cause"] == "other"


async def test_a_kill_before_it_is_noted_tells_it_again_under_the_same_id(tmp_path):
    async with listening() as (url, heard):
        settings = told_to(folder(tmp_path), url)
        async with await Store.open(settings) as store:
            await store.alerts.note("", [DRIFT], [], NOW)

            async def killed(*_):
                raise KeyboardInterrupt

            store.alerts.told, noted = killed, store.alerts.told
            with pytest.raises(KeyboardInterrupt):
                await tell(settings, store)
            store.alerts.told = noted
            await tell(settings, store)
            store.alerts.told = killed
            assert (await tell(settings, store)).sent == 0
    assert len({body["alert"]["id"] for _, body in heard}) == 1


async def test_no_redirect_is_followed_and_what_is_refused_is_not_asked_for_again(tmp_path):
    async with listening([307, 403]) as (url, heard), await Store.open(folder(tmp_path)) as store:
        settings = told_to(load_settings(tmp_path), f"{url}/path-secret")
        await store.alerts.note("", [DRIFT], [], NOW)
        with pytest.raises(EngineError, match="sends on to another place") as error:
            await tell(settings, store, pauses_s=QUICK)
        assert "path-secret" not in str(error.value)
        with pytest.raises(EngineError, match="refuses the message"):
            await tell(settings, store, pauses_s=QUICK)
        assert len(heard) == 2


async def test_it_goes_where_its_region_is_and_never_to_the_metadata_service(tmp_path):
    async with listening() as (url, heard), await Store.open(plain := folder(tmp_path)) as store:
        await store.alerts.note("", [DRIFT], [], NOW)
        elsewhere = msgspec.convert({"places": {"premises": ["192.0.2.0/24"]}}, type(plain.networks))
        held = msgspec.structs.replace(told_to(plain, url), networks=elsewhere)
        with pytest.raises(Outside):
            await tell(held, store, pauses_s=QUICK)
        inside = msgspec.structs.replace(plain, alerts=Alerting(webhook="https://169.254.169.254/latest"))
        with pytest.raises(Outside, match="never called"):
            await tell(inside, store, pauses_s=QUICK)
        assert heard == []
        refused = [one.refused for one in (await report(plain)).egress if one.purpose == "alerts"]
        assert sum(refused) >= 2


async def test_without_a_webhook_nothing_is_saved_up_for_one(tmp_path):
    async with listening() as (url, heard), await Store.open(plain := folder(tmp_path)) as store:
        await store.alerts.note("", [DRIFT], [], NOW)
        assert (await tell(plain, store)).sent == 0
        assert (await tell(told_to(plain, url), store)).sent == 0
        assert heard == []


async def test_a_cause_seen_by_two_at_once_is_one_alert(tmp_path):
    settings = folder(tmp_path)
    async with await Store.open(settings) as one, await Store.open(settings) as other:
        await asyncio.gather(*[each.alerts.note("tickets", [DRIFT], [], NOW) for each in (one, other) * 5])
        assert len(await one.open_alerts()) == 1


@pytest.mark.parametrize("url", ["ftp://x.example/", "https://", "https://user:pw@x.example/", "http://x.example/"])
def test_an_address_that_is_none_or_lets_anyone_read_is_refused_with_the_file(tmp_path, url):
    folder(tmp_path)
    with (tmp_path / "insource.toml").open("a") as file:
        file.write(f'[alerts]\nwebhook = "{url}"\n')
    with pytest.raises(Invalid, match=r"insource\.toml"):
        load_settings(tmp_path)


def test_headers_that_are_none_are_named_and_not_shown(monkeypatch):
    monkeypatch.setenv("HOOK", "canary")
    with pytest.raises(Invalid, match=r"\$HOOK is not of the form") as error:
        secret_headers("HOOK", "alerts.headers_env")
    assert "canary" not in str(error.value)
    assert secret_headers("", "x") == {}


async def test_the_metrics_show_what_is_open(tmp_path):
    async with watched(tmp_path) as (url, store, _, _), httpx.AsyncClient(base_url=url) as http:
        assert "insource_alerts{" not in (await http.get("/metrics")).text
        await store.alerts.note("tickets", [DRIFT], [], NOW)
        await store.alerts.note("", [Cause(cause="audit failed", words="w")], [], NOW)
        text = (await http.get("/metrics")).text
    assert 'insource_alerts{cause="watch drift",task="tickets"} 1.0' in text
    assert 'insource_alerts{cause="audit failed",task="-"} 1.0' in text
