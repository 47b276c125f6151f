"""A Ray cluster is joined at the address that was allowed and answered, and at no other."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from insource.engines import ray_cluster
from insource.engines.outward import Outward
from insource.engines.parcels import pack
from insource.engines.ray_cluster import Cluster
from insource.errors import EngineDown, Invalid, Outside
from insource.nouns import PREMISES, Networks

OUTSIDE = "8.8.8.8"


class RayError(Exception):
    pass


class Library:
    """What a connection asks of Ray: to be initialised, at `joined`, to keep what is put, and to be shut down."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self):
        self.joined, self.kept, self.fault, self.faults = [], [], None, 99

    def init(self, address, **_):
        if self.fault and self.faults:
            self.faults -= 1
            raise self.fault
        self.joined.append(address)

    def put(self, piece):
        time.sleep(0.05)
        self.kept.append(piece)
        return len(self.kept)

    def shutdown(self):
        pass


@pytest.fixture
def library(monkeypatch):
    ray = Library()
    monkeypatch.setattr(ray_cluster, "_library", lambda: ray)
    return ray


@pytest.fixture
def port():
    """Somebody listens here; that it is no Ray cluster the library would have to find out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def way(**names):
    """A way out to loopback and nowhere else. `names` says what each look at a name finds, one after another."""
    looks = {name: iter(found) for name, found in names.items()}

    def look_up(host, port, *_):
        numbers = next(looks[host]) if host in looks else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (number, port)) for number in numbers]

    return Outward("Ray cluster", PREMISES, networks=Networks(places={PREMISES: ("127.0.0.0/8",)}), look_up=look_up)


@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_a_name_is_looked_up_once_and_the_library_is_given_the_number(library, port, prefix):
    out = way(head=[[OUTSIDE, "127.0.0.1"], [OUTSIDE]])
    Cluster(f"{prefix}head:{port}", out).close()
    assert library.joined == [f"{prefix}127.0.0.1:{port}"]


@pytest.mark.parametrize("address", [f"{OUTSIDE}:6379", f"ray://{OUTSIDE}:10001", "head:6379", "169.254.169.254:80"])
def test_what_may_not_be_called_is_not_given_to_the_library(library, address):
    with pytest.raises(Outside):
        Cluster(address, way(head=[[OUTSIDE]]))
    assert library.joined == []


def test_the_address_of_the_environment_is_held_to_the_same(library, port, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", f"{OUTSIDE}:6379")
    with pytest.raises(Outside):
        Cluster("auto", way())
    assert library.joined == []
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    Cluster("auto", way()).close()
    assert library.joined == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize("address", ["", "local", "head", "head:0x1", "http://head:1", "ray://head", "head:1/x"])
def test_what_is_no_address_is_not_given_to_the_library(library, address):
    with pytest.raises(Invalid, match="no address of a Ray cluster") as told:
        Cluster(address, way())
    assert "HOST:6379" in told.value.hint
    assert library.joined == []


def test_where_nobody_listens_the_library_is_not_asked(library):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(EngineDown, match="no Ray cluster at"):
        Cluster(f"127.0.0.1:{port}", way())
    assert library.joined == []


@pytest.mark.parametrize("fault", [RayError("of another version"), RuntimeError("of another version")])
def test_what_the_library_says_of_an_address_is_told(library, port, fault):
    library.fault = fault
    with pytest.raises(EngineDown, match=f"no Ray cluster at 127.0.0.1:{port}: of another version"):
        Cluster(f"127.0.0.1:{port}", way())


def test_of_a_trace_that_the_head_sends_the_cause_is_told(library, port):
    library.fault = ConnectionAbortedError("Initialization failure from server:\nTraceback:\n  x\nKeyError: 'gone'\n")
    with pytest.raises(EngineDown, match=r"Initialization failure from server: KeyError: 'gone'$"):
        Cluster(f"127.0.0.1:{port}", way())


def test_a_head_that_lost_the_process_for_its_client_is_asked_again(library, port):
    library.fault, library.faults = ConnectionAbortedError("Initialization failure from server:\nx"), 2
    Cluster(f"ray://127.0.0.1:{port}", way()).close()
    assert library.joined == [f"ray://127.0.0.1:{port}"]
    library.fault, library.faults = RuntimeError("of another version"), 1
    with pytest.raises(EngineDown, match="another version"):
        Cluster(f"ray://127.0.0.1:{port}", way())


def test_however_many_nodes_ask_for_a_file_it_is_put_once(library, port):
    cluster, packed = Cluster(f"127.0.0.1:{port}", way()), pack({"weights": b"w" * 10})
    with ThreadPoolExecutor(8) as nodes:
        found = list(nodes.map(lambda _: cluster.pieces(packed, "weights"), range(8)))
    cluster.close()
    assert found == [[1]] * 8
    assert library.kept == [b"w" * 10]
