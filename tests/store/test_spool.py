"""The spool takes lines durably and in order, says when it cannot, and shows every change but an end cut off."""

import asyncio
import errno
import fcntl
import os
import random
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from test_store import intent, pending, record, settings

from insource.errors import StoreError
from insource.journeys.recover import recover
from insource.nouns import Pending, to_json
from insource.store import Store, spool_file
from insource.store.process import this_process
from insource.store.spool import ROOM, Spool, nobodys
from insource.store.spool_file import AROUND, Line, Place, framed, opening

MANY = 10**9


def begun(name: str) -> Line:
    return Line(intent=intent(name))


def ended(name: str, *, waits: bool = False) -> Line:
    one = record(name, outcome="review" if waits else "answered")
    return Line(record=one, pending=pending(name) if waits else None)


def lines_of(path: Path) -> list[Line]:
    opened = spool_file.opened(path)
    assert opened is not None
    return [line for page in spool_file.pages(path, opened[1]) for line in page.lines]


def gone(spool: Spool) -> list[Path]:
    """Its files, as if its process had been killed: they stay, and nobody holds them."""
    for own in spool.own:
        os.close(own.number)
    return [own.path for own in spool.own]


def spooled(folder: Path, lines: list[Line]) -> Path:
    """A file with these lines, of a process that is gone."""

    async def story() -> list[Path]:
        spool = Spool(folder, MANY)
        await asyncio.gather(*map(spool.add, lines))
        return gone(spool)

    (path,) = asyncio.run(story())
    return path


async def carried_in(root: Path, folder: Path):
    async with await Store.open(settings(root)) as store:
        found = await recover(store, folder)
        return found, [one.id for one in reversed(await store.records(limit=10_000))], await store.verify_chain()


def test_what_was_added_stands_in_the_file_in_order_for_its_owner_alone(tmp_path):
    lines = [each for i in range(40) for each in (begun(f"r{i}"), ended(f"r{i}", waits=i % 3 == 0))]
    path = spooled(tmp_path / "spool", lines)
    assert lines_of(path) == lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert spool_file.opened(path)[0] == this_process()
    assert spool_file.speaks_of(path.parent, this_process())
    assert not spool_file.speaks_of(path.parent, "another")


def test_lines_that_wait_together_are_flushed_together(tmp_path, monkeypatch):
    flushes, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (flushes.append(number), real(number)))

    async def story():
        spool = Spool(tmp_path, MANY)
        await asyncio.gather(*(spool.add(begun(f"r{i}")) for i in range(300)))
        return gone(spool)

    (path,) = asyncio.run(story())
    assert [line.intent.id for line in lines_of(path)] == [f"r{i}" for i in range(300)]
    assert len(flushes) <= 5, "the head, the folder, the first line, and all that came meanwhile"


def test_what_was_added_outlives_a_kill(tmp_path):
    code = (
        "import asyncio, os, signal, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_spool import Spool, begun\n"
        "async def go():\n"
        "    spool = Spool(Path(sys.argv[1]), 10**9)\n"
        "    for i in range(10**6):\n"
        "        await spool.add(begun(f'r{i}'))\n"
        "        os.write(1, b'.')\n"
        "        if i == 40: os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(go())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)], capture_output=True, check=False
    )
    (path,) = spool_file.in_folder(tmp_path)
    assert len(lines_of(path)) >= len(told.stdout) == 41
    with nobodys(path) as ours:
        assert ours


def test_a_file_is_its_process_s_own_as_long_as_that_lives(tmp_path):
    async def story():
        spool = Spool(tmp_path / "spool", MANY)
        await spool.add(ended("r1"))
        with nobodys(spool.own[0].path) as ours:
            assert not ours
        found, kept, _ = await carried_in(tmp_path, tmp_path / "spool")
        assert (found.files, kept) == (0, [])
        gone(spool)
        found, kept, _ = await carried_in(tmp_path, tmp_path / "spool")
        assert (found.files, kept) == (1, ["r1"])

    asyncio.run(story())


def test_a_file_that_another_process_has_just_carried_in_is_nobody_s(tmp_path):
    path = spooled(tmp_path, [ended("r1")])
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with nobodys(path) as ours:
            assert not ours
    path.unlink()
    with nobodys(path) as ours:
        assert not ours


def test_on_a_disk_that_locks_only_what_is_open_for_writing_a_file_is_carried_in(tmp_path, monkeypatch):
    real = fcntl.flock

    def flock(number, how):
        if how & fcntl.LOCK_EX and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")  # as NFS says it
        real(number, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    path = spooled(tmp_path / "spool", [ended("r0")])
    found, kept, _ = asyncio.run(carried_in(tmp_path, tmp_path / "spool"))
    assert (found.files, kept, path.exists()) == (1, ["r0"], False)


@pytest.mark.parametrize("cut", ["a byte", "half", "all but a byte of the head"])
def test_a_last_line_cut_in_the_middle_is_told_and_costs_nothing_else(tmp_path, cut):
    path = spooled(tmp_path / "spool", [ended(f"r{i}") for i in range(5)])
    data = path.read_bytes()
    last = len(data) - data.rindex(b"\n", 0, -1) - 1
    path.write_bytes(data[: -{"a byte": 2, "half": last // 2, "all but a byte of the head": last - 1}[cut]])
    found, kept, _ = asyncio.run(carried_in(tmp_path, tmp_path / "spool"))
    assert kept == ["r0", "r1", "r2", "r3"]
    assert len(found.torn) == 1
    assert path.name in found.torn[0]
    assert not found.refused
    assert not path.exists()


def test_a_last_line_of_which_only_the_line_end_is_missing_is_whole(tmp_path):
    path = spooled(tmp_path / "spool", [ended("r0"), ended("r1")])
    path.write_bytes(path.read_bytes()[:-1])
    found, kept, _ = asyncio.run(carried_in(tmp_path, tmp_path / "spool"))
    assert kept == ["r0", "r1"]
    assert not found.torn


@pytest.mark.parametrize("data", [b"", b"0000", bytes(5000)], ids=["empty", "begun", "zeros"])
def test_a_file_without_a_whole_head_has_nothing_and_goes(tmp_path, data):
    path = spooled(tmp_path / "spool", [ended("r0")])
    path.write_bytes(data)
    found, kept, _ = asyncio.run(carried_in(tmp_path, tmp_path / "spool"))
    assert (found.files, kept, found.refused) == (1, [], ())
    assert not path.exists()


def changes(data: bytes, chance: random.Random) -> bytes:
    """The file with one thing changed before its last line."""
    rows = data.splitlines(keepends=True)
    at = chance.randrange(1, len(rows) - 1)
    kind = chance.choice(("edit", "cut", "swap", "twice", "half", "join", "insert"))
    row = bytearray(rows[at])
    if kind == "edit":
        row[chance.randrange(len(row) - 1)] ^= 1 << chance.randrange(7)
        rows[at] = bytes(row)
    elif kind == "cut":
        del rows[at]
    elif kind == "swap":
        rows[at], rows[at + 1] = rows[at + 1], rows[at]
    elif kind == "twice":
        rows.insert(at, rows[at])
    elif kind == "half":
        rows[at] = bytes(row[: len(row) // 2])
    elif kind == "join":
        rows[at] = rows[at].rstrip(b"\n")
    else:
        rows.insert(at, framed(Place().hash, to_json(ended("more")))[0])
    return b"".join(rows)


def test_every_change_in_the_middle_is_found_and_the_file_is_kept_and_named(tmp_path):
    chance = random.Random(5)  # noqa: S311 - a seed
    path = spooled(tmp_path / "spool", [ended(f"r{i}") for i in range(12)])
    whole = path.read_bytes()
    kinds = Counter()

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            for _ in range(300):
                changed = changes(whole, chance)
                path.write_bytes(changed)
                found = await recover(store, tmp_path / "spool")
                assert len(found.refused) == 1
                assert str(path) in found.refused[0].why
                assert path.read_bytes() == changed
                kinds["refused"] += 1
            assert await store.records() == []
            path.write_bytes(whole)
            assert (await recover(store, tmp_path / "spool")).came.ended == 12

    asyncio.run(story())
    assert kinds["refused"] == 300


def test_what_stands_before_a_changed_line_can_be_taken_as_the_hint_says(tmp_path):
    path = spooled(tmp_path / "spool", [ended(f"r{i}") for i in range(6)])
    rows = path.read_bytes().splitlines(keepends=True)
    rows[4] = rows[4].replace(b"because", b"becauze")
    path.write_bytes(b"".join(rows))
    found, kept, _ = asyncio.run(carried_in(tmp_path, tmp_path / "spool"))
    assert kept == []
    command = found.refused[0].why.split("is whole: ")[1].split(", then")[0]
    subprocess.run(["bash", "-c", command], cwd=path.parent, check=True)
    path.rename(tmp_path / path.name)
    found, kept, chain = asyncio.run(carried_in(tmp_path, tmp_path / "spool"))
    assert kept == ["r0", "r1", "r2"], "the first line is the file's head"
    assert not found.refused
    assert not chain.faults


def test_a_file_of_another_form_or_none_of_ours_is_refused_by_name(tmp_path):
    folder = tmp_path / "spool"
    path = spooled(folder, [ended("r0")])
    newer = to_json(opening()).replace(b'"form":1', b'"form":2')
    path.write_bytes(framed(Place().hash, newer)[0])
    (folder / "notes.spool").write_text("nothing of ours\n")
    found, _, _ = asyncio.run(carried_in(tmp_path, folder))
    assert sorted(Path(one.file).name for one in found.refused) == sorted([path.name, "notes.spool"])
    assert any("pip install" in one.why for one in found.refused)


def test_a_full_spool_begins_no_call_that_it_could_not_end(tmp_path):
    most = 65_536

    async def story():
        spool = Spool(tmp_path, most)
        assert not spool.full
        names = []
        with pytest.raises(StoreError, match="is full") as error:
            for i in range(1000):
                await spool.add(begun(f"r{i}"))
                names.append(f"r{i}")
        assert spool.full
        assert "audit.spool_bytes" in error.value.hint
        assert error.value.status == 503
        assert len(names) == (most - 1024) // (ROOM + len(to_json(begun("r0"))) + AROUND)
        for name in names:
            await spool.add(ended(name))
        return names, gone(spool)

    names, (path,) = asyncio.run(story())
    assert path.stat().st_size <= most
    assert [line.record.id for line in lines_of(path) if line.record] == names


def test_what_lies_in_the_folder_already_counts(tmp_path):
    spooled(tmp_path, [ended(f"r{i}") for i in range(80)])
    held = sum(path.stat().st_size for path in tmp_path.iterdir())

    async def story():
        spool = Spool(tmp_path, 65_536)
        spool.prepare()
        assert spool.bytes == held
        with pytest.raises(StoreError, match="is full"):
            for i in range(100):
                await spool.add(ended(f"s{i}"))

    asyncio.run(story())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 65_536


def test_a_disk_that_fills_in_the_middle_of_a_line_leaves_whole_lines_only(tmp_path):
    code = (
        "import asyncio, resource, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_spool import Spool, StoreError, begun, ended\n"
        "def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))\n"
        "async def go():\n"
        "    spool = Spool(Path(sys.argv[1]), 10**9)\n"
        "    limit(20_000)\n"
        "    failed = []\n"
        "    for i in range(60):\n"
        "        try: await spool.add(ended(f'r{i}')); print(f'r{i}')\n"
        "        except StoreError as error: failed.append(error)\n"
        "    assert failed and 'free some space' in failed[0].hint, failed\n"
        "    assert 'cannot be written' in str(failed[0])\n"
        "    limit(resource.RLIM_INFINITY)\n"
        "    await spool.add(ended('after')); print('after')\n"
        "asyncio.run(go())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = spool_file.in_folder(tmp_path)
    assert [line.record.id for line in lines_of(path)] == done.stdout.split()
    assert "after" in done.stdout


def test_a_place_that_cannot_be_written_is_said_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written") as error:
        Spool(tmp_path / "file" / "spool", MANY).prepare()
    assert error.value.hint


def test_a_line_longer_than_a_page_of_memory_comes_back(tmp_path):
    text = Pending(record="r1", task="t", input="x" * 3_000_000)
    long = Line(record=record("r1", outcome="review"), pending=text)
    path = spooled(tmp_path, [long, ended("r2")])
    assert lines_of(path) == [long, ended("r2")]


async def test_a_line_whose_writing_is_cut_short_is_told_to_be_durable_to_nobody(tmp_path, monkeypatch):
    spool = Spool(tmp_path, MANY)

    def broken(bodies):
        raise ValueError("a bug")

    monkeypatch.setattr(spool, "_write", broken)
    both = await asyncio.gather(spool.add(ended("r1")), spool.add(ended("r2")), return_exceptions=True)
    assert [type(one) for one in both] == [ValueError, ValueError]
    monkeypatch.undo()
    await spool.add(ended("r3"))
    (path,) = gone(spool)
    assert [line.record.id for line in lines_of(path)] == ["r3"]
    slow = Spool(tmp_path / "slow", MANY)
    adding = asyncio.create_task(slow.add(ended("r4")))
    while not slow._writing or slow._waiting:
        await asyncio.sleep(0)
    slow._writing.cancel()
    with pytest.raises(StoreError, match="stopped"):
        await adding
