"""Where a connection may lead, as a pure rule; and that nothing in the product connects past it."""

import ast
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.errors import Invalid
from insource.nouns import Networks, is_public
from insource.nouns.networks import HERE, NEVER
from insource.settings import load_settings

SOURCE = Path(__file__).resolve().parents[1] / "src" / "insource"
EU = Networks(places={"eu": ("llm.example.com", "*.eu.example", "198.51.100.0/24", "2001:db8:7::/48")})


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", True), ("127.255.0.9", True), ("::1", True), ("10.1.2.3", True), ("172.16.0.1", True),
        ("172.31.255.255", True), ("192.168.9.9", True), ("fd12::1", True), ("::ffff:10.1.2.3", True),
        ("172.32.0.1", False), ("172.15.255.255", False), ("11.0.0.1", False), ("192.169.0.1", False),
        ("8.8.8.8", False), ("2606:4700::1", False), ("::ffff:8.8.8.8", False), ("64:ff9b::10.1.2.3", False),
        ("2002:a01:203::1", False), ("100.64.0.1", False), ("198.18.0.1", False), ("0.0.0.0", False),  # noqa: S104
        ("169.254.169.254", False), ("169.254.0.1", False), ("fe80::1", False), ("fd00:ec2::254", False),
        ("fd20:ce::254", False), ("224.0.0.1", False), ("255.255.255.255", False), ("::", False), ("ff02::1", False),
        ("fd00::5efe:169.254.169.254", False), ("127.1", False), ("0x7f.1", False), ("2130706433", False),
        ("0177.0.0.1", False), ("fe80::1%eth0", False), ("::1%lo", False), ("/run/x.sock", False), ("", False),
        ("127.0.0.1 ", False), ("localhost", False), ("[::1]", False), ("127.0.0.1/8", False), ("１27.0.0.1", False),  # noqa: RUF001
    ],
)  # fmt: skip
def test_without_a_setting_the_premises_are_this_machine_and_the_private_networks(address, allowed):
    assert (Networks().refusal("premises", "any.example", address) == "") == allowed


@pytest.mark.parametrize(
    ("host", "address", "allowed"),
    [
        ("llm.example.com", "8.8.8.8", True), ("LLM.Example.com.", "2606:4700::1", True),
        ("a.eu.example", "8.8.8.8", True), ("a.b.eu.example", "8.8.8.8", True), ("eu.example", "8.8.8.8", False),
        ("xeu.example", "8.8.8.8", False), ("llm.example.com.evil.example", "8.8.8.8", False),
        ("evil-llm.example.com", "8.8.8.8", False), ("other.example", "8.8.8.8", False),
        ("llm.example.com", "10.0.0.1", False), ("llm.example.com", "127.0.0.1", False),
        ("llm.example.com", "fd00::1", False), ("llm.example.com", "100.64.0.1", False),
        ("llm.example.com", "203.0.113.9", False), ("llm.example.com", "64:ff9b::8.8.8.8", True),
        ("llm.example.com", "64:ff9b::10.0.0.1", False), ("llm.example.com", "2002:808:808::1", False),
        ("llm.example.com", "169.254.169.254", False), ("llm.example.com", "::ffff:10.0.0.1", False),
        ("other.example", "198.51.100.7", True), ("198.51.100.7", "198.51.100.7", True),
        ("other.example", "2001:db8:7::9", True), ("other.example", "198.51.101.7", False),
    ],
)  # fmt: skip
def test_a_region_has_its_names_at_public_addresses_and_its_networks(host, address, allowed):
    assert (EU.refusal("eu", host, address) == "") == allowed


def test_a_region_that_is_not_listed_is_held_to_nothing_but_the_addresses_never_called():
    assert EU.refusal("us", "x.example", "8.8.8.8") == EU.refusal("", "x.example", "10.0.0.1") == ""
    assert "never called" in EU.refusal("us", "x.example", "169.254.169.254")
    assert (EU.held("us"), EU.held("eu"), EU.held("premises")) == (False, True, True)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["", "::ffff:"]))
def test_ipv4_is_the_same_inside_ipv6(number, before):
    address = IPv4Address(number)
    for networks in (Networks(), EU):
        for region in ("premises", "eu", ""):
            plain, mapped = (
                networks.refusal(region, "llm.example.com", one) for one in (str(address), f"{before}{address}")
            )
            assert (plain == "") == (mapped == "")
    assert is_public(str(address)) == is_public(f"{before}{address}")


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**32 - 1))
def test_whatever_is_listed_metadata_and_link_local_are_never_called(six, low):
    wide = Networks(places={"premises": ("0.0.0.0/0", "::/0")})
    inside = f"169.254.{low >> 8 & 255}.{low & 255}"
    bits = int(IPv4Address(inside))
    for address in (
        inside, f"::ffff:{inside}", f"64:ff9b::{inside}", IPv6Address((0x2002 << 112) | bits << 80 | six & (2**80 - 1)),
        IPv6Address((0x2001_0000 << 96) | bits << 64 | six & (2**64 - 1)),
        IPv6Address((0xFE80 << 112) | six & (2**64 - 1)),
    ):  # fmt: skip
        assert "never called" in wide.refusal("premises", "x", str(address))
        assert not is_public(str(address))
    assert isinstance(wide.refusal("premises", "x", str(IPv6Address(six))), str)


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ('premises = ["gpu-box.plant.example"]', "names lead where their DNS says"),
        ('premises = ["10.0.0.1/8"]', "has host bits set"),
        ('premises = ["10.0.0.300"]', "neither a network"),
        ('eu = ["https://llm.example.com"]', "neither a network"),
        ('eu = ["llm.example.com:443"]', "neither a network"),
        ('eu = ["*"]', "neither a network"),
        ('eu = ["169.254.169.254/32"]', "never called"),
        ('eu = ["fe80::/64"]', "never called"),
        ('eu = ["::ffff:10.0.0.0/104"]', "write it so"),
        ('eu = "llm.example.com"', "array"),
        ("eu = [7]", "str"),
    ],
)
def test_a_list_that_cannot_be_meant_is_told_of(lists, words, tmp_path):
    (tmp_path / "insource.toml").write_text(f"[networks]\n{lists}\n")
    with pytest.raises(Invalid, match=words) as caught:
        load_settings(tmp_path)
    assert "insource.toml" in str(caught.value)


def test_lists_are_read_as_they_stand(tmp_path):
    (tmp_path / "insource.toml").write_text(
        '[networks]\npremises = ["10.20.0.0/16", "10.30.0.1"]\neu = ["*.example.com"]\n'
    )
    found = load_settings(tmp_path).networks
    assert found.places == {"premises": ("10.20.0.0/16", "10.30.0.1"), "eu": ("*.example.com",)}
    assert found.refusal("premises", "x", "10.30.0.1") == ""
    assert found.refusal("premises", "x", "127.0.0.1") == "127.0.0.1 is outside premises"


def test_no_default_network_is_one_that_is_never_called():
    assert Networks(places={"premises": HERE}) != Networks()
    for network in NEVER:
        with pytest.raises(ValueError, match="never called"):
            Networks(places={"eu": (network,)})


# ------------------------------------------------------------------ nothing connects past it

WAYS = {
    "engines/http_lines.py", "engines/outward_aiohttp.py", "engines/outward_urllib.py", "store/outward.py",
    "store/place_s3.py",
}  # fmt: skip
OUT = {
    "TCPConnector", "UnixConnector", "create_connection", "open_connection", "open_unix_connection", "urlopen",
    "build_opener", "urlretrieve", "HTTPHandler", "HTTPSHandler", "HTTPConnection", "HTTPSConnection", "sock_connect",
    "connect_ex", "sendto", "create_datagram_endpoint", "ClientSession()", "socket()",
}  # fmt: skip
CLIENTS = {
    "httpx", "httpx2", "requests", "urllib3", "pyreqwest", "pycurl", "websockets", "smtplib", "ftplib", "openai",
    "xmlrpc", "telnetlib", "grpc", "huggingface_hub", "boto3", "botocore", "paramiko", "anthropic",
}  # fmt: skip
# file → why it may
EXCEPT = {
    "cli/serve.py": "a worker takes the socket that its parent listens at",
    "engines/copied.py": "finds a free port by listening on it",
    "journeys/demo_calls.py": "plays the caller of the gateway that it has just started on this machine",
    "serve/run.py": "listens",
}


def connecting(path: Path) -> set[str]:
    """What in the file makes connections, or brings a client along, by name."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    named = {id(node): getattr(node, "attr", getattr(node, "id", "")) for node in nodes}
    called = {f"{named[id(node.func)]}()" for node in nodes if isinstance(node, ast.Call)}
    brought = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    brought |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return (OUT & {*named.values(), *called}) | {name for name in brought if name.split(".")[0] in CLIENTS}


def test_every_connection_is_made_by_the_way_out():
    found = {path.relative_to(SOURCE).as_posix(): connecting(path) for path in sorted(SOURCE.rglob("*.py"))}
    assert {name for name, ways in found.items() if ways} == WAYS | set(EXCEPT)


def test_a_connection_past_the_way_out_would_be_found(tmp_path):
    (tmp_path / "x.py").write_text("import httpx, socket\nimport aiohttp as a\na.ClientSession()\nsocket.socket()\n")
    assert connecting(tmp_path / "x.py") == {"httpx", "ClientSession()", "socket()"}
    (tmp_path / "y.py").write_text("def f(session: aiohttp.ClientSession) -> None: ...\n")
    assert connecting(tmp_path / "y.py") == set()
