"""Model downloads by the way out: what they are sent on to, proxies, and what is counted of them."""

import socket

import model_files
import pytest
from model_host import Heard, Host, serving

from insource.engines import outward_urllib
from insource.engines.models import resolve
from insource.engines.outward import Outward
from insource.engines.sources_http import Patience, Want, download, get_json
from insource.errors import EngineDown, Outside
from insource.store import egress
from trap import trap

SOON = Patience(stall_s=2, tries=1)


def led(address):
    """A look-up of any name that finds `address`; numbers are read as ever."""

    def look_up(host, port, *_):
        found = address if host.endswith(".example") else host
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (found, port))]

    return look_up


def test_what_began_at_a_public_host_is_not_sent_on_to_a_private_one(monkeypatch, tmp_path):
    """The public host is played by 127.0.0.1; every other address of this machine stays private."""
    monkeypatch.setattr(outward_urllib, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr("insource.store.outward.is_public", lambda address: address == "127.0.0.1")
    with trap("127.0.0.2") as private:
        for location in (private.url, f"http://inside.example:{private.port}/x"):
            with trap("127.0.0.1", location=location) as public:
                journal = tmp_path / "egress.jsonl"
                outward = Outward("model download", look_up=led("127.0.0.2"), journal=journal)
                with pytest.raises(Outside, match="is private, and a public host led to it"):
                    download(Want(url=public.url), tmp_path / "m", Heard(), SOON, outward)
                assert public.connections() == 1
        assert private.connections() == 0
    kept, _ = egress.read([journal])
    assert sum(one.refused for one in kept) == 2


def test_metadata_is_not_fetched_whoever_sends_on_to_it(tmp_path):
    for location in ("http://169.254.169.254/latest", "http://[::ffff:169.254.169.254]/", "http://meta.example/"):
        with trap("127.0.0.1", location=location) as public, pytest.raises(Outside, match="never called"):
            outward = Outward("model download", look_up=led("169.254.169.254") if "meta" in location else led(""))
            download(Want(url=public.url), tmp_path / "m", Heard(), SOON, outward if "meta" in location else None)


def test_a_proxy_of_the_environment_is_used_for_downloads_and_told(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with trap("127.0.0.1") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("https_proxy", proxy.url)
        outward = Outward("model download", journal=tmp_path / "egress.jsonl")
        assert get_json(Want(url="http://hub.example/x"), dict, SOON, outward=outward)["model"] == "m"
        with pytest.raises(EngineDown):  # this proxy knows no tunnels
            get_json(Want(url="https://hub.example/x"), dict, SOON, outward=outward)
        outward.close()
    kept, _ = egress.read([tmp_path / "egress.jsonl"])
    through = f"127.0.0.1:{proxy.port}"
    assert [one.destination for one in kept] == [f"hub.example:443 via {through}", f"hub.example:80 via {through}"]


def test_what_a_model_was_fetched_from_is_in_the_journal_of_the_cache(tmp_path, monkeypatch):
    folder = model_files.folder(tmp_path / "model")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with serving(Host(files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        resolve("hf:acme/tiny", tmp_path / "cache", progress=lambda *_: None)
    kept, spoiled = egress.read([tmp_path / "cache" / egress.FILE])
    assert spoiled == 0
    assert [(one.purpose, one.destination, one.address) for one in kept] == [
        ("model download", hub.url.removeprefix("http://"), "127.0.0.1")
    ]
    assert kept[0].connections == len(files) + 1, "each file, and the list of them"
