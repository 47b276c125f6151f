"""Through a proxy that the settings name: what it is told, what nobody else is, and where it may not lead."""

import asyncio
import base64
import json
import shutil

import pytest
from click.testing import CliRunner
from proxies import Proxy, Secure, certificates, standing

from insource.cli.main import main
from insource.engines.outward import Outward, to_engine
from insource.engines.remote import Remote
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import EngineDown, EngineError, Invalid, Outside
from insource.nouns import Networks, Output, Task, ask
from insource.settings import EngineSettings, load_settings
from insource.store import egress
from trap import Watch

TASK = Task(name="t", kind="classify", outputs=(Output(name="intent", labels=("refund", "status")),))
USER = "ada:pa55:word ✓"
BASIC = "Basic " + base64.b64encode(USER.encode()).decode()
LISTED = Networks(places={"eu": ("llm.example", "127.0.0.1/32")})


@pytest.fixture(scope="module")
def watch():
    return Watch()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    folder = tmp_path_factory.mktemp("tls")
    return folder, certificates(folder)


@pytest.fixture
def secure(authority, monkeypatch):
    """The server's side of TLS; the engine's trusts its authority."""
    folder, context = authority
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ours.pem"))
    return context


class Asking:
    """An engine behind a proxy."""

    def __init__(self, url, proxy, *, region="", networks=LISTED, journal=None, kind="openai", **more) -> None:
        settings = EngineSettings(kind=kind, base_url=url, model="m", region=region, retries=0, proxy=proxy, **more)
        self.engine = Remote(
            "e", settings, "sk-canary", Outward("engine e", region, networks=networks, journal=journal)
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.engine.close()

    async def says(self):
        """The label, or the error."""
        try:
            return (await self.engine.complete(ask(TASK, "x", id="1"))).value["intent"]
        except EngineError as error:
            return error


async def test_https_goes_through_a_tunnel_that_is_asked_for_once_and_the_server_hears_nothing_of_it(
    secure, tmp_path, monkeypatch
):
    monkeypatch.setenv("PROXY_USER", USER)
    journal = tmp_path / egress.FILE
    async with standing(Secure(), secure) as server, standing(Proxy(server.port, wants=BASIC)) as proxy:
        more = {"journal": journal, "proxy_auth_env": "PROXY_USER", "region": "eu"}
        async with Asking("https://llm.example/v1", proxy.url, **more) as asking:
            assert [await asking.says() for _ in range(3)] == ["refund"] * 3
        assert proxy.asked == ["CONNECT llm.example:443 HTTP/1.1"]
        assert "Host: llm.example:443\r\n" in proxy.heads[0]
        assert "sk-canary" not in proxy.heads[0]
        assert len(server.heads) == 3
        assert server.heads[0].startswith("POST /v1/chat/completions HTTP/1.1\r\nHost: llm.example\r\n")
        assert all("proxy" not in head.lower() for head in server.heads)
        assert all("Authorization: Bearer sk-canary" in head for head in server.heads)
        (row,), spoiled = egress.read([journal])
        there = f"127.0.0.1:{proxy.port}"
    assert (row.destination, row.via, row.address, row.region) == ("llm.example:443", there, "127.0.0.1", "eu")
    assert (row.connections, row.refused, row.sent > 300, spoiled) == (1, 0, True, 0)
    assert row.place == f"llm.example:443 via {there}"
    assert "pa55" not in journal.read_text()


async def test_http_is_told_to_the_proxy_with_its_whole_address(monkeypatch, tmp_path):
    monkeypatch.setenv("PROXY_USER", USER)
    async with ScriptedServer([Reply(text="refund")]) as server:
        port = int(server.address.rpartition(":")[2])
        async with standing(Proxy(port, wants=BASIC)) as proxy:
            url = "http://llm.example:8000/v1"
            async with Asking(url, proxy.url, region="eu", proxy_auth_env="PROXY_USER") as asking:
                assert await asking.says() == "refund"
            assert proxy.asked == ["POST http://llm.example:8000/v1/chat/completions HTTP/1.1"]
            assert "Host: llm.example:8000\r\n" in proxy.heads[0]
        assert server.keys == ["Bearer sk-canary"]


@pytest.mark.parametrize("url", ["https://llm.example/v1", "http://llm.example/v1"])
async def test_a_proxy_that_asks_for_a_password_is_told_of_with_what_to_do(url, monkeypatch):
    monkeypatch.setenv("PROXY_USER", "ada:wrong-canary")
    async with standing(Proxy(9, wants=BASIC)) as proxy:
        for more in ({}, {"proxy_auth_env": "PROXY_USER"}):
            async with Asking(url, proxy.url, **more) as asking:
                said = await asking.says()
            assert isinstance(said, EngineError)
            assert "407" in str(said)
            assert "proxy_auth_env" in said.hint
            sent = base64.b64encode(b"ada:wrong-canary").decode()
            assert not [word for word in ("canary", sent) if word in f"{said} {said.hint}"]
            assert (sent in proxy.heads[-1]) == bool(more)


SPOILT = {
    b"": "ended the connection",
    b"HTTP/1.1 403 Forbidden\r\n\r\n": "answered HTTP 403",
    b"HTTP/1.1 502 Bad Gateway\r\n\r\n": "answered HTTP 502",
    b"SSH-2.0-OpenSSH\r\n\r\n": "answered what is no HTTP",
    b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n": "answered what is no HTTP",
    b"HTTP/1.1 2\xb2\xb2 OK\r\n\r\n": "answered what is no HTTP",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000: "ended the connection",
}


@pytest.mark.parametrize("says", SPOILT, ids=lambda says: says[:24].decode("latin-1"))
async def test_a_proxy_that_does_not_let_us_through_is_an_engine_that_is_down(says):
    async with standing(Proxy(9, says=says or b" ")) as proxy, Asking("https://llm.example", proxy.url) as asking:
        said = await asking.says()
    assert isinstance(said, EngineDown)
    assert f"its proxy 127.0.0.1:{proxy.port} {SPOILT[says]}" in str(said)
    assert (said.again_s is not None) == (b"502" in says or not says)


async def test_a_proxy_that_says_nothing_is_waited_for_as_a_connection_is():
    async with (
        standing(Proxy(9, silent=True)) as proxy,
        Asking("https://llm.example", proxy.url, connect_s=0.2) as asking,
    ):
        said = await asking.says()
    assert isinstance(said, EngineDown)
    assert "cannot be reached" in str(said)


async def test_a_proxy_that_leads_to_another_server_is_found_out_by_its_certificate(secure):
    async with standing(Secure(), secure) as other, standing(Proxy(other.port)) as proxy:
        async with Asking("https://another.example/v1", proxy.url) as asking:
            said = await asking.says()
        assert isinstance(said, EngineDown)
        assert "no safe connection" in str(said)
        assert other.heads == []


# ------------------------------------------------------------------ where it may not be asked to go

HOME = Networks(places={"premises": ("127.0.0.1/32", "10.20.0.0/16")})


@pytest.mark.parametrize(
    ("region", "networks", "host", "why"),
    [
        ("", Networks(), "anything.example", ""),
        ("", Networks(), "8.8.8.8", ""),
        ("", Networks(), "169.254.169.254", "never called"),
        ("", Networks(), "0xa9fea9fe", "no plain IP address"),
        ("", Networks(), "169.254.43518", "no plain IP address"),
        ("", Networks(), "2852039166.", "no plain IP address"),
        ("", Networks(), "[::ffff:169.254.169.254]", "never called"),
        ("us", Networks(), "anything.example", "us has no list under [networks]"),
        ("us", Networks(), "8.8.8.8", "us has no list under [networks]"),
        ("eu", LISTED, "llm.example", ""),
        ("eu", LISTED, "other.example", "eu lists no such name"),
        ("eu", LISTED, "127.0.0.1", ""),
        ("eu", LISTED, "127.0.0.2", "outside eu"),
        ("premises", HOME, "10.20.3.4", ""),
        ("premises", HOME, "10.21.3.4", "outside premises"),
        ("premises", HOME, "gpu-box.plant", "premises lists no such name"),
        ("premises", Networks(), "192.168.1.1", ""),
        ("premises", Networks(), "gpu-box.plant", "premises lists no such name"),
    ],
)
async def test_it_is_asked_only_for_what_the_region_names(region, networks, host, why, watch):
    async with standing(Proxy(9, says=b"HTTP/1.1 403 No\r\n\r\n")) as proxy:
        with watch.watching() as seen:
            async with Asking(f"https://{host}/v1", proxy.url, region=region, networks=networks) as asking:
                said = await asking.says()
        assert isinstance(said, Outside) == bool(why)
        assert why in str(said)
        assert len(proxy.heads) == len(seen) == int(not why)


@pytest.mark.parametrize(
    ("region", "networks", "inside"),
    [
        ("eu", Networks(places={"eu": ("llm.example", "127.0.0.2/32")}), False),
        ("eu", LISTED, True),
        ("premises", Networks(places={"premises": ("10.20.0.0/16",)}), False),
        ("premises", HOME, True),
        ("", Networks(), True),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_its_own_address_is_held_to_the_region(region, networks, inside, scheme, watch, tmp_path):
    host, journal = ("10.20.0.9" if region == "premises" else "llm.example"), tmp_path / egress.FILE
    async with standing(Proxy(9, says=b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")) as proxy:
        with watch.watching() as seen:
            more = {"region": region, "networks": networks, "journal": journal}
            async with Asking(f"{scheme}://{host}/v1", proxy.url, **more) as asking:
                said = await asking.says()
        assert isinstance(said, Outside) != inside
        assert len(proxy.heads) == len(seen) == int(inside)
        (row,), _ = egress.read([journal])
        assert (row.refused, row.connections, row.via) == (1 - inside, int(inside), f"127.0.0.1:{proxy.port}")


async def test_an_engine_beside_it_without_one_goes_its_own_way(watch):
    async with ScriptedServer([Reply(text="refund")]) as server, standing(Proxy(9)) as proxy:
        async with Asking(server.base_url, "", region="premises", networks=HOME) as asking:
            assert await asking.says() == "refund"
        assert proxy.heads == []


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy.example:3128",
        "https://proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://ada:canary@proxy.example:3128",
        "http://proxy.example:3128/path",
        "http://proxy.example:3128?x",
        "http://",
        "http://proxy.example:99999",
    ],
)
def test_what_is_no_proxy_is_refused_with_the_form(proxy):
    settings = EngineSettings(kind="openai", base_url="https://llm.example/v1", proxy=proxy)
    with pytest.raises(Invalid, match=r"engines\.e: proxy must be http://HOST:PORT") as raised:
        Remote("e", settings, "")
    assert "proxy_auth_env" in raised.value.hint
    assert "canary" not in str(raised.value)


def test_a_name_that_the_region_lists_lends_nothing_to_the_proxy_that_is_asked_for_it():
    way = Outward("engine e", "eu", networks=LISTED)
    assert way.admitted("llm.example:443", ["8.8.8.8"]) == {"8.8.8.8"}
    way.via = "8.8.4.4:3128"
    with pytest.raises(Outside, match=r"8\.8\.4\.4 is outside eu"):
        way.admitted("llm.example:443", ["8.8.4.4"])
    listed = Outward("engine e", "eu", networks=Networks(places={"eu": ("llm.example", "proxy.example")}))
    listed.via = "proxy.example:3128"
    assert listed.admitted("llm.example:443", ["8.8.4.4"]) == {"8.8.4.4"}


def test_the_report_says_by_which_proxy(tmp_path):
    (tmp_path / "insource.toml").write_text(
        '[engines.e]\nkind = "openai"\nbase_url = "https://llm.example/v1"\nproxy = "http://127.0.0.1:9"\n'
    )
    settings = load_settings(tmp_path, {"INSOURCE_CACHE": str(tmp_path / "cache")})

    async def asked():
        engine = Remote("e", settings.engines["e"], "", to_engine("e", settings))
        with pytest.raises(EngineDown):
            await engine.complete(ask(TASK, "x", id="1"))
        await engine.close()

    asyncio.run(asked())
    environment = {"INSOURCE_CACHE": str(tmp_path / "cache")}
    shown = CliRunner().invoke(main, ["-C", str(tmp_path), "audit", "egress"], env=environment)
    assert "llm.example:443 via 127.0.0.1:9" in shown.stdout
    shown = CliRunner().invoke(main, ["-C", str(tmp_path), "audit", "egress", "--json"], env=environment)
    (row,) = json.loads(shown.stdout)["egress"]
    assert (row["destination"], row["via"], row["connections"]) == ("llm.example:443", "127.0.0.1:9", 1)


def test_what_went_straight_and_what_went_by_a_proxy_are_two_things(tmp_path):
    journal = tmp_path / egress.FILE
    for via in ("", "10.0.0.1:3128", "10.0.0.2:3128", "10.0.0.1:3128"):
        way = Outward("engine e", journal=journal)
        way.via = via
        way.sent("llm.example:443", 10)
        way.close()
    rows, _ = egress.read([journal])
    assert [(row.via, row.sent) for row in rows] == [("", 10), ("10.0.0.1:3128", 20), ("10.0.0.2:3128", 10)]
