"""What may be connected to, proved at the socket: a listener that must never see anybody, and the calls to connect."""

import asyncio
import socket
import tomllib

import msgspec
import pytest
import ssrf

from insource.engines.outward import Outward
from insource.engines.remote import Remote
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.engines.sources_http import Patience, Want, get_json
from insource.errors import EngineDown, EngineError, InsourceError, Invalid, Outside, Refused
from insource.nouns import Message, Networks, Output, Request, Task, ask
from insource.settings import EngineSettings
from trap import Watch, trap

NOWHERE = Networks(places={"premises": ("192.0.2.77/32",), "eu": ("llm.example.com", "192.0.2.77/32")})
TASK = Task(name="t", kind="classify", outputs=(Output(name="intent", labels=("refund", "status")),))
FORMS = (*ssrf.LOOPBACK, *ssrf.ELSEWHERE, *ssrf.SCHEMES)
SOON = Patience(stall_s=2, tries=1)


def found(address, port):
    """An address as `getaddrinfo` gives it."""
    six = ":" in address
    place = (address, port, 0, 0) if six else (address, port)
    return socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place


def look_up(host, port, family=0, kind=0, proto=0, flags=0):
    """DNS of the table; everything else as the system reads numbers, without asking anybody."""
    name = host.rstrip(".").lower()
    if name in ssrf.DNS:
        return [found(one, port) for one in ssrf.DNS[name]]
    local = name == "localhost"
    return socket.getaddrinfo("127.0.0.1" if local else host, port, 0, kind, 0, socket.AI_NUMERICHOST)


@pytest.fixture(scope="module")
def watch():
    return Watch()


def call(url, region="premises", networks=NOWHERE, *, seconds=0.5, stream=False, **more):
    """What an engine at `url` says, or the error."""

    async def story():
        settings = EngineSettings(kind="openai", base_url=url, model="m", region=region, retries=0)
        outward = Outward("engine e", region, networks=networks, **({"look_up": look_up} | more))
        engine = Remote("e", settings, "sk-canary", outward)
        request = msgspec.structs.replace(ask(TASK, "x", id="1"), deadline=seconds)
        try:
            if stream:
                passed = Request(id="2", messages=(Message(role="user", content="x"),), deadline=seconds)
                return [piece async for piece in engine.stream(passed)]
            return await engine.complete(request)
        finally:
            await engine.close()

    try:
        return asyncio.run(story())
    except InsourceError as error:
        return error


def test_there_are_enough_forms_and_none_twice():
    assert len(FORMS) == len(set(FORMS)) >= 100


@pytest.mark.parametrize("region", ["premises", "eu"])
def test_no_way_of_writing_an_address_leads_outside(region, watch):
    found = {}
    with trap() as here:
        assert here.connections() == 0
        with watch.watching() as seen:
            for form in FORMS:
                found[form] = call(form.replace("PORT", str(here.port)), region)
        assert here.connections() == 0
    assert seen == [], "nothing but loopback and other hosts were tried"
    answered = [form for form, said in found.items() if not isinstance(said, Invalid | EngineError)]
    assert not answered
    assert sum(isinstance(said, Outside) for said in found.values()) >= 90
    assert all(isinstance(found[form], Invalid) for form in ssrf.SCHEMES[:10])
    assert not [said for said in found.values() if "canary" in f"{said} {said.hint}"]


def test_no_way_of_writing_an_address_leads_a_download_to_metadata_or_out_of_a_held_region(watch):
    found = {}
    with trap() as here, watch.watching() as seen:
        for form in FORMS:
            url = form.replace("PORT", str(here.port))
            outward = Outward("model download", "eu", networks=NOWHERE, look_up=look_up)
            try:
                found[form] = get_json(Want(url=url), dict, SOON, outward=outward)
            except InsourceError as error:
                found[form] = error
        assert seen == []
        assert here.connections() == 0
    assert not [form for form, said in found.items() if not isinstance(said, Outside | Refused | EngineDown)]
    assert sum(isinstance(said, Outside) for said in found.values()) >= 80


def test_the_same_forms_do_get_through_where_this_machine_is_allowed():
    """Else the tests above could not fail."""
    allowed = Networks(places={"premises": ("127.0.0.0/8", "::1/128")})
    reached = []
    with trap() as here:
        for form in ssrf.LOOPBACK:
            before = here.connections()
            call(form.replace("PORT", str(here.port)), networks=allowed, seconds=5)
            reached += [form] * (here.connections() > before)
    assert len(reached) >= 35
    assert {"http://127.0.0.1:PORT", "http://0x7f.1:PORT", "http://rebound.example:PORT"} <= set(reached)


def test_of_several_addresses_only_the_allowed_are_called(watch):
    allowed = Networks(places={"premises": ("127.0.0.1/32",)})
    with trap("127.0.0.1") as here, watch.watching() as seen:
        said = call(f"http://both.example:{here.port}", networks=allowed, seconds=20)
        assert said.value == {"intent": "refund"}
    assert [address[0] for address in seen if address[1] == here.port and address[0] != "127.0.0.1"] == []


def test_a_server_that_sends_on_is_not_followed():
    allowed = Networks(places={"premises": ("127.0.0.1/32",)})
    with trap("127.0.0.2") as outside:
        for location in (
            f"{outside.url}/v1",
            f"http://127.0.0.1@127.0.0.2:{outside.port}/",
            f"//127.0.0.2:{outside.port}",
        ):
            with trap("127.0.0.1", location=location) as inside:
                said = call(inside.url, networks=allowed, seconds=20)
                assert isinstance(said, EngineError)
                assert "redirects are not followed" in said.hint
                assert inside.connections() == 1
        assert outside.connections() == 0


def test_a_name_that_leads_elsewhere_at_the_next_look_is_not_followed(watch):
    """Between the look at the address and the connection there is no second look-up that could give another."""
    allowed = Networks(places={"premises": ("127.0.0.1/32",)})
    answers = []

    def turning(host, port, *_):
        answers.append("127.0.0.1" if len(answers) % 2 == 0 else "127.0.0.2")
        return [found(answers[-1], port)]

    with trap() as here:
        url = f"http://turning.example:{here.port}"
        with watch.watching() as seen:
            said = [call(url, networks=allowed, seconds=20, look_up=turning) for _ in range(6)]
        assert [one.value for one in said[::2]] == [{"intent": "refund"}] * 3
        assert all(isinstance(one, Outside) for one in said[1::2])
        assert here.connections() == 3
    assert [address[0] for address in seen] == ["127.0.0.1"] * 3
    assert len(answers) == 6, "one look-up a connection"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
def test_proxies_of_the_environment_are_not_used(name, monkeypatch):
    allowed = Networks(places={"premises": ("127.0.0.1/32",)})
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with trap("127.0.0.2") as proxy, trap("127.0.0.1") as inside:
        monkeypatch.setenv(name, proxy.url)
        assert call(inside.url, networks=allowed, seconds=20).value == {"intent": "refund"}
        assert isinstance(call("http://public.example", networks=allowed), Outside)
        assert call(inside.url, networks=allowed, seconds=20, stream=True)
        assert (proxy.connections(), inside.connections()) == (0, 2)


@pytest.mark.parametrize(
    ("places", "name", "goes"),
    [
        (("127.0.0.1/32",), "allowed.example", True),
        (("127.0.0.0/30",), "127.0.0.1", True),
        (("127.0.0.2/32",), "127.0.0.1", False),
        (("allowed.example",), "allowed.example", False),  # a name lends public addresses only
        (("allowed.example", "127.0.0.1/32"), "allowed.example", True),
        ((), "127.0.0.1", False),
    ],
)
def test_a_region_reaches_what_is_listed_for_it_and_nothing_else(places, name, goes):
    with trap("127.0.0.1") as here:
        said = call(f"http://{name}:{here.port}", "eu", Networks(places={"eu": places}), seconds=20)
        assert here.connections() == int(goes)
    assert isinstance(said, Outside) != goes


def test_a_region_without_a_list_goes_where_base_url_says_but_never_to_metadata(watch):
    with trap("127.0.0.1") as here:
        assert call(here.url, "us", Networks(), seconds=20).value
        assert call(here.url, "", Networks(), seconds=20).value
    with watch.watching() as seen:
        for region in ("", "us", "premises"):
            for form in (
                "http://169.254.169.254",
                "http://[::ffff:a9fe:a9fe]",
                "http://[fd00:ec2::254]",
                "http://0.0.0.0",
            ):
                assert isinstance(call(form, region, Networks()), Outside)
    assert seen == []


def test_an_outside_address_is_told_with_what_to_do_and_is_not_tried_again():
    asked = []

    def elsewhere(host, port, *_):
        asked.append(host)
        return [found("8.8.8.8", port)]

    said = call("http://u.example.invalid:1", seconds=30, look_up=elsewhere)
    assert isinstance(said, Outside)
    assert str(said) == "engine e: u.example.invalid:1 is not called: 8.8.8.8 is outside premises"
    assert said.hint.startswith("nothing was sent; where it belongs there, say so under [networks] of insource.toml: ")
    line = said.hint.partition("insource.toml: ")[2]
    assert tomllib.loads(line) == {"premises": [*NOWHERE.listed("premises"), "8.8.8.8"]}
    taken = msgspec.convert(tomllib.loads(line), dict[str, tuple[str, ...]])
    assert Networks(places=taken).refusal("premises", "u.example.invalid", "8.8.8.8") == ""
    assert (said.status, said.exit_code, said.retryable) == (403, 3, False)
    assert asked == ["u.example.invalid"]


@pytest.mark.parametrize("kind", ["openai", "vllm", "ollama", "anthropic"])
def test_every_kind_of_server_is_held_to_its_region(kind):
    async def story():
        async with ScriptedServer([Reply(text="refund")], kind=kind) as server:
            for networks, fault in ((NOWHERE, Outside), (Networks(), None)):
                settings = EngineSettings(kind=kind, base_url=server.base_url, model="m", region="premises")
                engine = Remote("e", settings, "", Outward("engine e", "premises", networks=networks))
                try:
                    if fault is None:
                        assert (await engine.complete(ask(TASK, "x", id="1"))).value == {"intent": "refund"}
                    else:
                        with pytest.raises(fault):
                            await engine.complete(ask(TASK, "x", id="1"))
                        assert server.seen == []
                finally:
                    await engine.close()

    asyncio.run(story())


def test_an_engine_is_held_to_its_region_without_being_told():
    async def story():
        engine = Remote("e", EngineSettings(kind="openai", base_url="http://8.8.8.8", region="premises"), "")
        try:
            with pytest.raises(Outside):
                await engine.complete(ask(TASK, "x", id="1"))
        finally:
            await engine.close()

    asyncio.run(story())
