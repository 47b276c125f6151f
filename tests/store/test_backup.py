"""A backup brings everything back, and nothing else is taken for one."""

import asyncio
import tarfile
from pathlib import Path

import pytest
from test_store import record, settings

from insource.errors import Conflict, Invalid, Missing
from insource.store import Store
from insource.store.backup import unpack
from insource.store.egress import FILE, Egress, Journal, read


async def filled(root):
    async with await Store.open(settings(root)) as store:
        await store.append(record("r1"))
        sha = store.blobs.put(b"hello")
        key = await store.tenant_key("local")
        writing = [asyncio.create_task(store.append(record(f"w{i}"))) for i in range(50)]
        size = await store.backup(root / "b.tar")
        await asyncio.gather(*writing)
        await store.append(record("after"))
        assert size == (root / "b.tar").stat().st_size > 4096
        with pytest.raises(Conflict, match="exists already"):
            await store.backup(root / "b.tar")
    return sha, key


async def test_a_backup_taken_under_load_restores_to_that_moment(tmp_path):
    (tmp_path / "one").mkdir()
    sha, key = await filled(tmp_path / "one")
    target = settings(tmp_path / "two")
    (tmp_path / "two").mkdir()
    assert unpack(tmp_path / "one" / "b.tar", target.state).former is None
    async with await Store.open(target) as store:
        ids = {r.id for r in await store.records(limit=1000)}
        assert "r1" in ids
        assert "after" not in ids
        assert store.blobs.get(sha) == b"hello"
        assert await store.tenant_key("local") == key


async def test_what_left_comes_back_with_it(tmp_path):
    (tmp_path / "one").mkdir()
    journal = Journal(settings(tmp_path / "one").state / FILE)
    journal.note(
        Egress(purpose="engine a", destination="a:1", region="", address="", first="1", last="2", connections=3)
    )
    await filled(tmp_path / "one")
    state = tmp_path / "two" / ".insource"
    unpack(tmp_path / "one" / "b.tar", state)
    found, spoiled = read([state / FILE])
    assert ([one.connections for one in found], spoiled) == ([3], 0)


async def test_a_present_state_is_moved_aside_and_never_lost(tmp_path):
    await filled(tmp_path)
    state = settings(tmp_path).state
    with pytest.raises(Conflict, match="already"):
        unpack(tmp_path / "b.tar", state)
    aside = unpack(tmp_path / "b.tar", state, replace=True)
    assert aside.former is not None
    assert (Path(aside.former) / "insource.db").exists()
    async with await Store.open(settings(tmp_path)) as store:
        assert "after" not in {r.id for r in await store.records(limit=1000)}


def whole_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, file in members:
            tar.add(file, name)
    return path


async def test_what_is_no_whole_backup_is_refused_and_changes_nothing(tmp_path):
    await filled(tmp_path)
    state = settings(tmp_path).state
    before = sorted(path.name for path in state.iterdir())
    data = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.tar").write_text("hello")
    (tmp_path / "noise.db").write_bytes(b"\xff" * 9000)
    cases = [
        tmp_path / "cut.tar",
        tmp_path / "text.tar",
        whole_tar(tmp_path / "odd.tar", [("../evil", tmp_path / "text.tar")]),
        whole_tar(tmp_path / "other.tar", [("blobs/x", tmp_path / "text.tar")]),
        whole_tar(tmp_path / "damaged.tar", [("insource.db", tmp_path / "noise.db")]),
    ]
    for case in cases:
        with pytest.raises(Invalid):
            unpack(case, state, replace=True)
    with pytest.raises(Missing):
        unpack(tmp_path / "none.tar", state, replace=True)
    assert sorted(path.name for path in state.iterdir()) == before
    assert not (tmp_path / "evil").exists()
    async with await Store.open(settings(tmp_path)) as store:
        assert "after" in {r.id for r in await store.records(limit=1000)}


def odd_tar(path, pax):
    """A backup whose second member lies about itself."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(path.parent / "b.tar", "blobs/b")
        info = tarfile.TarInfo("blobs/a")
        info.pax_headers = pax
        tar.addfile(info)
    return path


@pytest.mark.parametrize(
    "pax",
    [
        {"mtime": "1e300"},
        {"mtime": "nan"},
        {"path": "blobs/a\0b"},
        {"GNU.sparse.map": "abc"},
        {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**42)},
    ],
)
async def test_a_backup_that_lies_about_its_members_is_refused(tmp_path, pax):
    await filled(tmp_path)
    with pytest.raises(Invalid):
        unpack(odd_tar(tmp_path / "odd.tar", pax), settings(tmp_path).state, replace=True)
    assert not list(tmp_path.glob(".insource.*.part"))
