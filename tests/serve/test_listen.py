"""Where the gateway listens, and where it refuses to."""

import socket

import pytest

from insource.errors import Conflict, Denied, Invalid
from insource.serve.run import address, listen


def test_small_answers_are_sent_at_once():
    # asyncio sets TCP_NODELAY only on sockets that name TCP; without it each answer waits 40 ms for the client's ack
    with listen("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
        assert address(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104 - it is refused
def test_the_network_is_not_listened_to_unasked_or_without_keys(host):
    with pytest.raises(Denied, match="reachable from the network") as denied:
        listen(host, 0, keys=True)
    assert "--allow-network" in denied.value.hint
    for network in (False, True):
        with pytest.raises(Denied, match="there is no API key") as denied:
            listen(host, 0, network=network)
        assert "insource keys create" in denied.value.hint


def test_a_proxy_in_front_is_the_network_too():
    with pytest.raises(Denied, match="there is no API key"):
        listen("127.0.0.1", 0, network=True)


def test_it_is_when_asked_and_the_address_can_be_called():
    with listen("0.0.0.0", 0, network=True, keys=True) as bound:  # noqa: S104 - the point of the test
        assert address(bound).startswith("http://127.0.0.1:")


def test_a_taken_port_names_a_free_one():
    with listen("127.0.0.1", 0) as bound:
        with pytest.raises(Conflict, match="in use") as taken:
            listen("127.0.0.1", bound.getsockname()[1])
        with listen("127.0.0.1", int(taken.value.hint.rsplit(" ", 1)[1])):
            pass


def test_an_unknown_host_is_said():
    with pytest.raises(Invalid, match="no host"):
        listen("no.such.host.invalid", 0, network=True, keys=True)
