"""A file that is no untouched bundle is refused whole, and leaves no trace."""

import json
import stat
import zipfile
from pathlib import Path

import pytest
from bundle_parts import again, central

from insource.errors import Conflict, InsourceError, Invalid, Missing, Refused
from insource.journeys.edge import install
from insource.nouns import digest
from insource.release.bundle import check, unpack

# ------------------------------------------------------------------ hostile


def json_of(data: bytes, **changes) -> bytes:
    return json.dumps(json.loads(data) | changes).encode()


def head(**changes):
    return lambda name, data: json_of(data, **changes) if name == "bundle.json" else data


def deflated(new, name, data):
    if name == "artefact/linear.json":
        new.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
        return True
    return False


def linked(new, name, data):
    if name == "artefact/linear.json":
        info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        new.writestr(info, b"/etc/passwd")
        return True
    return False


def listed(name: str, content: bytes = b"x"):
    """A member that bundle.json lists as well, with its right digest."""

    def change(member, data):
        if member != "bundle.json":
            return data
        known = json.loads(data)["members"] | {name: {"sha256": digest(content), "bytes": len(content)}}
        return json_of(data, members=known)

    return {"change": change, "more": [(name, content)]}


FILES = {
    "a member was changed": {"change": lambda n, d: d[:-1] + b" " if n.endswith("linear.json") else d},
    "a member is missing": {"change": lambda n, d: None if n.endswith("linear.json") else d},
    "a member was added": {"more": [("artefact/zz.json", b"{}")]},
    "an added member is listed": listed("artefact/zz.json", b"{}"),
    "a name climbs out": listed("artefact/../../../../evil.json"),
    "a name climbs out from within": listed("artefact/x/../../../evil.json"),
    "an absolute name": listed("/tmp/evil.json"),
    "an absolute name within": listed("artefact//tmp/evil.json"),
    "a name of Windows": listed("artefact/..\\..\\evil.json"),
    "a drive": listed("artefact/c:evil.json"),
    "a control character": listed("artefact/z\x1b[2J.json"),
    "a code file": listed("artefact/zz.py"),
    "a folder": listed("artefact/zz.json/", b""),
    "beside the artefact": listed("zz.json"),
    "the same name twice": {"more": [("artefact/linear.json", b"{}")]},
    "the same name but for capitals": listed("artefact/Linear.json"),
    "a link": {"put": linked},
    "a compressed member": {"put": deflated},
    "no head": {"change": lambda n, d: None if n == "bundle.json" else d},
    "a head that is no JSON": {"change": lambda n, d: b"{" if n == "bundle.json" else d},
    "a head nested without end": {"change": lambda n, d: b"[" * 100_000 if n == "bundle.json" else d},
    "an unknown form": {"change": head(format=2)},
    "an unknown key": {"change": head(extra=1)},
}


@pytest.mark.parametrize("how", FILES.values(), ids=FILES)
async def test_what_is_no_untouched_bundle_is_refused_and_leaves_no_trace(how, made, tmp_path):
    with pytest.warns() if how.get("more") == [("artefact/linear.json", b"{}")] else nothing():
        file = again(made, tmp_path / "bad.bundle", **how)
    with pytest.raises(InsourceError) as said:
        await install(file, tmp_path / "in" / "kiosk")
    assert isinstance(said.value, Refused | Invalid), repr(said.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["bad.bundle"]
    assert not Path("/tmp/evil.json").exists()


def nothing():
    import contextlib

    return contextlib.nullcontext()


def test_the_same_rewriting_without_a_change_is_accepted(made, tmp_path):
    """The control: what refuses the files above is what was done to them."""
    file = again(made, tmp_path / "same.bundle")
    assert file.read_bytes() == made.read_bytes()
    assert check(file).release.name == "defects@1.0.0"


def inside(**changes):
    """bundle.json with a part changed: `release.version` as release__version."""

    def change(name, data):
        if name != "bundle.json":
            return data
        document = json.loads(data)
        for key, value in changes.items():
            *path, last = key.split("__")
            part = document
            for step in path:
                part = part[step]
            part[last] = value
        return json.dumps(document).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        inside(release__version="../../../x", gate__release="defects@../../../x"),
        inside(release__task="../x", gate__release="../x@1.0.0"),
        inside(task__name="../x"),
        inside(task__name="other"),
        inside(gate__release="other@1.0.0"),
        inside(gate__artefact="0" * 64),
        inside(gate__checks=[]),
        inside(release__artefact="0" * 64, gate__artefact="0" * 64),
        inside(release__left=["linear.json", "trainer.jsonl"]),
        inside(task__outputs=[{"name": "category", "labels": ["a", "b"]}]),
    ],
)
async def test_a_head_that_does_not_belong_to_its_files_is_refused(change, made, tmp_path):
    file = again(made, tmp_path / "bad.bundle", change=change)
    with pytest.raises((Refused, Invalid, Conflict)):
        await install(file, tmp_path / "kiosk")
    assert not (tmp_path / "kiosk").exists()


async def test_a_folder_named_by_the_head_is_not_where_files_go(made, tmp_path):
    file = again(made, tmp_path / "odd.bundle", change=inside(release__folder="../../outside"))
    await install(file, tmp_path / "kiosk")
    assert not (tmp_path / "outside").exists()
    assert (tmp_path / "kiosk/.insource/releases/defects/1.0.0/linear.json").is_file()


@pytest.mark.parametrize("where", ["before", "between", "behind"])
def test_bytes_beside_the_members_are_refused(where, made, tmp_path):
    data = bytearray(made.read_bytes())
    if where == "before":
        data = bytearray(b"#!/bin/sh\n") + data
    elif where == "behind":
        data[-2:] = (4).to_bytes(2, "little")
        data += b"more"
    else:
        start = central(data)
        data[-6:-2] = (start + 4).to_bytes(4, "little")
        data[start:start] = b"more"
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises((Refused, Invalid)):
        check(tmp_path / "bad")


def test_members_that_lie_on_one_another_are_refused(made, tmp_path):
    """A bomb without compression: many names for the same bytes (Fifield 2019)."""
    data = bytearray(made.read_bytes())
    start = central(data)
    second = data.index(b"PK\x01\x02", start + 4)
    third = data.index(b"PK\x01\x02", second + 4)
    data[third + 42 : third + 46] = data[second + 42 : second + 46]
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises((Refused, Invalid)):
        check(tmp_path / "bad")


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_cut_file_is_refused(share, made, tmp_path):
    data = made.read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(Invalid, match="is no bundle"):
        check(tmp_path / "cut")


def test_every_changed_byte_of_a_member_is_seen(made, tmp_path):
    data = made.read_bytes()
    start = data.index(b"artefact/linear.json")
    for at in range(start, central(bytearray(data)), max(1, len(data) // 60)):
        (tmp_path / "bad").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises((Refused, Invalid)):
            check(tmp_path / "bad")


def test_every_changed_byte_before_a_member_is_seen(made, tmp_path):
    """Our reader goes by the list at the file's end; another goes by what stands before each member."""
    data = made.read_bytes()
    with zipfile.ZipFile(made) as opened:
        places = [(info.header_offset, 50 + len(info.filename)) for info in opened.infolist()]
    for at in [place + byte for place, size in places for byte in range(size)]:
        (tmp_path / "bad").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises((Refused, Invalid)):
            check(tmp_path / "bad")


def test_the_whole_file_is_known_by_its_digest(made, tmp_path):
    assert check(made, digest(made.read_bytes()).upper())
    with pytest.raises(Refused, match="has SHA-256"):
        check(made, "0" * 64)
    with pytest.raises(Missing):
        check(tmp_path / "none")


def test_a_file_swapped_after_the_check_does_not_get_in(made, tmp_path):
    bundle = check(made)
    other = again(made, tmp_path / "x", change=lambda n, d: d[:-1] + b" " if n.endswith("linear.json") else d)
    with pytest.raises(Refused, match="changed while"):
        unpack(other, bundle, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
