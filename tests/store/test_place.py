"""What hosts share: the same of a folder and of a bucket, and what a bucket's server does on its bad days."""

import hashlib
import io
import logging
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buckets import BUCKET, KEYS, Server, line_to, settings_of
from insource.errors import Invalid, Missing, Outside, Refused, StoreError
from insource.settings import load_settings
from insource.store import egress, place_s3
from insource.store.blobs import Blobs
from insource.store.place import Folder, bring, key_of, place_of

DATA = os.urandom(300_000)


@pytest.fixture(scope="module")
def server():
    made = Server()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


def workspace(root: Path, text: str):
    (root / "tasks").mkdir(exist_ok=True)
    (root / "insource.toml").write_text(text)
    return load_settings(root, {"INSOURCE_CACHE": str(root / "cache")})


def bucket(root: Path, url: str, prefix: str = "", **how):
    """The place at `url`; with `how` less patient."""
    settings = workspace(root, settings_of(url, prefix))
    made = place_of(settings)
    for name, value in how.items():
        setattr(made, f"_{name}", value)
    return made


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path, server):
    if request.param == "folder":
        (tmp_path / "share").mkdir()
        return place_of(workspace(tmp_path, '[artefacts]\nplace = "share"\n'))
    server.client()
    return bucket(tmp_path, server.url, f"of/{os.urandom(4).hex()}")


def written(root: Path, data: bytes = DATA) -> tuple[str, Path]:
    file = root / os.urandom(4).hex()
    file.write_bytes(data)
    return key_of("artefacts", hashlib.sha256(data).hexdigest()), file


def test_what_is_put_is_there_once_and_comes_back(place, tmp_path):
    key, file = written(tmp_path)
    assert place.listed() == {}
    assert place.put(key, file)
    assert not place.put(key, file)
    assert place.listed() == {key: len(DATA)}
    assert b"".join(place.get(key)) == DATA
    assert bring(place, key, tmp_path / "deep" / "there") == len(DATA)
    assert (tmp_path / "deep" / "there").read_bytes() == DATA
    for _ in range(2):
        place.remove(key)
        assert place.listed() == {}
    assert place.put(key, file)
    empty, none = written(tmp_path, b"")
    assert place.put(empty, none)
    assert place.listed()[empty] == 0


def test_a_file_that_is_not_its_keys_is_not_put_and_one_that_is_missing_is_named(place, tmp_path):
    key, file = written(tmp_path)
    file.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(Refused, match="was changed"):
        place.put(key, file)
    assert place.listed() == {}
    with pytest.raises(Missing, match=key):
        bring(place, key, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "key",
    ["", "../x", "artefacts/../../etc/passwd", "/etc/passwd", "artefacts/ab/" + "a" * 64, "blobs/aa/" + "a" * 63 + "/",
     "artefacts/aa/" + "a" * 64 + "\n", "artefacts/AA/" + "A" * 64, "signatures/../" + "a" * 64 + ".sig", "a\x00b"],
)  # fmt: skip
def test_no_key_leads_elsewhere(place, tmp_path, key):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Missing, match="is no key"):
        place.put(key, written(tmp_path)[1])
    with pytest.raises(Missing, match="is no key"):
        b"".join(place.get(key))
    assert len(sorted(tmp_path.rglob("*"))) == len(before) + 1


def test_what_was_cut_short_there_is_seen_and_the_next_put_mends_it(place, tmp_path, server):
    key, file = written(tmp_path)
    place.put(key, file)
    for wrong in (DATA[:1000], DATA[:-1] + bytes([DATA[-1] ^ 1])):
        if isinstance(place, Folder):
            (place.root / key).write_bytes(wrong)
        else:
            server.client().put_object(Bucket=BUCKET, Key=place._said.prefix + key, Body=wrong)
        with pytest.raises(Refused, match="is not what was put there") as told:
            bring(place, key, tmp_path / "out")
        assert key in str(told.value)
        assert [one.name for one in tmp_path.iterdir() if "part" in one.name or one.name == "out"] == []
        assert place.put(key, file, again=len(wrong) == len(DATA))
        assert b"".join(place.get(key)) == DATA


def test_many_put_the_same_at_once(place, tmp_path):
    key, file = written(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        put = list(pool.map(lambda _: place.put(key, file), range(8)))
    assert any(put)
    assert b"".join(place.get(key)) == DATA
    assert place.listed() == {key: len(DATA)}


def test_blobs_are_in_the_place_when_they_have_a_name_and_come_to_a_host_that_lacks_them(place, tmp_path):
    ours, theirs = Blobs(tmp_path / "ours", place), Blobs(tmp_path / "theirs", place)
    sha = ours.put(DATA)
    assert key_of("blobs", sha) in place.listed()
    assert theirs.get(sha) == DATA
    assert theirs.path(sha).read_bytes() == DATA
    with pytest.raises(Missing):
        theirs.get("0" * 64)


def test_a_folder_that_is_not_mounted_is_no_place(tmp_path):
    place = Folder(tmp_path / "away" / "insource")
    for ask in (
        place.listed,
        lambda: place.put(*written(tmp_path)),
        lambda: list(place.get("signatures/" + "a" * 64 + ".sig")),
    ):
        with pytest.raises(StoreError, match="there is no folder"):
            ask()
    assert not (tmp_path / "away").exists()


def test_a_large_file_goes_in_parts_whole_or_not_at_all(tmp_path, server, monkeypatch):
    monkeypatch.setattr(place_s3, "PART", 5 << 20)
    client, data = server.client(), os.urandom((11 << 20) + 5)
    place = bucket(tmp_path, server.url, "parts")
    key, file = written(tmp_path, data)
    assert place.put(key, file)
    assert hashlib.sha256(b"".join(place.get(key))).digest() == hashlib.sha256(data).digest()
    key, file = written(tmp_path, data + b"1")
    file.write_bytes(data + b"2")
    with pytest.raises(Refused, match="was changed"):
        place.put(key, file)
    assert key not in place.listed()
    assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET)


def test_the_server_is_asked_to_write_only_where_nothing_is(tmp_path, server, monkeypatch):
    server.client()
    key, file = written(tmp_path)
    with line_to(server) as line:
        place = bucket(tmp_path, line.url, "once")
        assert place.put(key, file)
        put = next(head for head in line.seen if head.startswith("PUT"))
        assert "if-none-match: *" in put.lower()
        assert "x-amz-checksum-sha256" in put.lower()
        monkeypatch.setattr(place, "_size", lambda _: None)  # somebody put it between the look and the writing
        assert not place.put(key, file)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(tmp_path, server):
    server.client()
    key, file = written(tmp_path)
    with line_to(server) as line:
        place = bucket(tmp_path, line.url, "cut", tries=3)
        place.put(key, file)
        line.cut, line.seen = 120_000, []
        assert b"".join(place.get(key)) == DATA
        ranges = [row for head in line.seen for row in head.splitlines() if row.lower().startswith("range")]
        assert len(ranges) >= 2
        line.cut = 500  # not even one byte of the body gets through
        with pytest.raises(StoreError, match="cannot be reached"):
            bring(place, key, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_server_that_stalls_or_is_down_is_said_within_its_patience(tmp_path, server):
    server.client()
    key, file = written(tmp_path)
    with line_to(server) as line:
        place = bucket(tmp_path, line.url, "slow", tries=2, stall_s=0.3)
        line.stall_s = 5.0
        with pytest.raises(StoreError, match="cannot be reached"):
            place.put(key, file)
    down = bucket(tmp_path, "http://127.0.0.1:9", "down", tries=2)
    with pytest.raises(StoreError, match="cannot be reached") as told:
        down.listed()
    assert "127.0.0.1:9" in str(told.value)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(403, "AccessDenied", "denies access"), (403, "SignatureDoesNotMatch", "denies access"),
     (503, "SlowDown", "SlowDown"), (404, "NoSuchBucket", "no bucket"), (500, "InternalError", "InternalError")],
)  # fmt: skip
def test_what_the_server_refuses_is_said_without_a_secret(tmp_path, server, caplog, status, code, words):
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    head = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    key, file = written(tmp_path)
    caplog.set_level(logging.DEBUG)
    with line_to(server) as line:
        line.says = head.encode() + body
        place = bucket(tmp_path, line.url, tries=1)
        for ask in (place.listed, lambda: list(place.get(key)), lambda: place.put(key, file)):
            with pytest.raises(StoreError, match=f"{words}|{status}") as told:
                ask()
            assert KEYS["AWS_SECRET_ACCESS_KEY"] not in f"{told.value} {told.value.hint}"
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in caplog.text
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in (tmp_path / ".insource" / egress.FILE).read_text()


def test_without_credentials_nothing_is_sent(tmp_path, server, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name)
    with line_to(server) as line:
        with pytest.raises(StoreError, match="no credentials"):
            bucket(tmp_path, line.url).listed()
        assert line.seen == []


def test_what_goes_out_is_held_to_its_networks_and_in_the_journal(tmp_path, server):
    server.client()
    bucket(tmp_path, server.url, "journal").put(*written(tmp_path))
    found, spoiled = egress.read([tmp_path / ".insource" / egress.FILE])
    assert [(one.purpose, one.region, one.destination) for one in found] == [
        ("artefacts", "premises", server.url.removeprefix("http://"))
    ]
    assert found[0].sent >= len(DATA)
    assert not spoiled
    held = place_of(workspace(tmp_path, settings_of("https://203.0.113.9:1")))
    with pytest.raises(Outside, match="is outside premises"):
        held.listed()
    found, _ = egress.read([tmp_path / ".insource" / egress.FILE])
    assert next(one for one in found if one.destination == "203.0.113.9:1").refused >= 1


def test_a_task_that_may_not_go_there_keeps_the_place_shut(tmp_path):
    region = settings_of("https://s3.eu.example") + 'region = "eu"\n[networks]\neu = ["s3.eu.example"]\n'
    settings = workspace(tmp_path, region)
    assert place_of(settings) is not None
    task = 'name = "defects"\nkind = "classify"\n[outputs.category]\nlabels = ["a", "b"]\n'
    for said, may in (
        ("", False),
        ('sensitivity = ["us"]\n', False),
        ('sensitivity = ["eu"]\n', True),
        ('sensitivity = "any"\n', True),
    ):
        (tmp_path / "tasks" / "defects.toml").write_text(said + task)
        if may:
            assert place_of(settings) is not None
        else:
            with pytest.raises(Outside, match="defects may not go to eu"):
                place_of(settings)


@pytest.mark.parametrize(
    "text",
    ['place = "s3://AKIA:secret@bucket/x"', 'place = "s3://bucket/../x"', 'place = "ftp://bucket"',
     'secret_key = "secret"', 'place = "s3://b/"', 'endpoint = "https://AKIA:secret@host"',
     'endpoint = "http://s3.example"\nregion = "eu"'],
)  # fmt: skip
def test_settings_that_hold_a_secret_or_no_place_are_refused_without_repeating_it(tmp_path, text):
    with pytest.raises(Invalid) as told:
        workspace(tmp_path, f"[artefacts]\n{text}\n")
    assert "secret@" not in str(told.value)
    assert '"secret"' not in str(told.value)


def test_tls_is_verified_by_the_authority_that_is_named(tmp_path, server):
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "own.key",
            "-out", "own.pem", "-subj", "/CN=own", "-days", "2", "-addext", "subjectAltName=IP:127.0.0.1")  # fmt: skip
    import http.server
    import ssl
    import threading

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "own.key")
    door.socket = context.wrap_socket(door.socket, server_side=True)
    door.handle_error = lambda *_: None
    threading.Thread(target=door.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{door.server_port}"
    with pytest.raises(StoreError, match="certificate"):
        bucket(tmp_path, url, tries=1).listed()
    assert place_of(workspace(tmp_path, settings_of(url) + 'ca = "own.pem"\n')).listed() == {}
    with pytest.raises(StoreError, match="cannot be read"):
        place_of(workspace(tmp_path, settings_of(url) + 'ca = "none.pem"\n')).listed()
    door.shutdown()


def test_the_metadata_of_a_machine_is_never_asked(tmp_path, server, monkeypatch):
    with line_to(server) as line:
        for name in KEYS:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", line.url)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{line.url}/creds")
        with pytest.raises(StoreError, match="no credentials"):
            bucket(tmp_path, server.url).listed()
        assert line.seen == []


def test_a_profile_of_aws_gives_the_credentials(tmp_path, server, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name)
    lines = [
        "[plant]",
        f"aws_access_key_id = {KEYS['AWS_ACCESS_KEY_ID']}",
        f"aws_secret_access_key = {KEYS['AWS_SECRET_ACCESS_KEY']}",
    ]
    (tmp_path / "none").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_PROFILE", "plant")
    server.client()
    assert bucket(tmp_path, server.url, "profile").put(*written(tmp_path))


def test_a_full_disk_here_is_said_and_leaves_nothing(place, tmp_path, monkeypatch):
    key, file = written(tmp_path)
    place.put(key, file)

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", **more: Full(self, "x") if mode == "xb" else real(self, mode, **more)
    )
    with pytest.raises(StoreError, match="No space left") as told:
        bring(place, key, tmp_path / "out" / "file")
    assert "free some space" in told.value.hint
    assert list((tmp_path / "out").iterdir()) == []
