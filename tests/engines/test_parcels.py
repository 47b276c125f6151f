"""Files for another machine arrive whole or not at all, and are sent once."""

import os
import time
from threading import Thread

import pytest

from insource.engines import parcels
from insource.engines.parcels import CUT_OFF_S, KEPT_S, Item, Parcel, Unpacking, pack, sweep
from insource.errors import Refused


@pytest.fixture
def packed(tmp_path, monkeypatch):
    monkeypatch.setattr(parcels, "PIECE", 1000)
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "empty.txt").write_bytes(b"")
    files = {"a/weights.bin": tmp_path / "weights.bin", "empty.txt": tmp_path / "empty.txt", "made.json": b"{}"}
    return pack(files)


def folders(tmp_path):
    """What lies there, without the lock."""
    return [path.name for path in (tmp_path / "home").iterdir() if path.is_dir()]


def send(packed, there, spoil=lambda path, piece: piece):
    for item in packed.parcel.items:
        for piece in packed.pieces(item.path):
            there.take(item.path, spoil(item.path, piece))


def test_a_parcel_arrives_as_it_was_and_is_not_sent_again(packed, tmp_path):
    there = Unpacking(packed.parcel, tmp_path / "home")
    assert there.lacks
    assert len(list(packed.pieces("a/weights.bin"))) == 3
    send(packed, there)
    assert there.lacks
    there.finish()
    assert not there.lacks
    assert (there.folder / "a/weights.bin").read_bytes() == (tmp_path / "weights.bin").read_bytes()
    assert (there.folder / "empty.txt").read_bytes() == b""
    assert (there.folder / "made.json").read_bytes() == b"{}"
    assert folders(tmp_path) == [packed.parcel.id]
    again = Unpacking(packed.parcel, tmp_path / "home")
    assert not again.lacks
    again.finish()


def test_one_that_came_otherwise_than_it_was_sent_is_not_kept(packed, tmp_path):
    there = Unpacking(packed.parcel, tmp_path / "home")
    send(packed, there, lambda path, piece: piece.replace(b"\x07", b"\x08"))
    with pytest.raises(Refused, match=r"a/weights\.bin"):
        there.finish()
    assert folders(tmp_path) == []
    send(packed, there)
    there.finish()
    assert not there.lacks


def test_of_two_at_once_the_first_is_kept_and_the_other_is_no_fault(packed, tmp_path):
    one, other = (Unpacking(packed.parcel, tmp_path / "home") for _ in range(2))
    send(packed, one)
    send(packed, other)
    one.finish()
    inode = (one.folder / "made.json").stat().st_ino
    other.finish()
    assert (one.folder / "made.json").stat().st_ino == inode
    assert len(folders(tmp_path)) == 1


def test_of_many_at_once_what_one_has_finished_stays_readable(packed, tmp_path):
    there = [Unpacking(packed.parcel, tmp_path / "home") for _ in range(8)]
    for one in there:
        send(packed, one)
    lacking = []

    def finish(one):
        one.finish()
        lacking.extend(one.lacks for _ in range(20))

    threads = [Thread(target=finish, args=(one,)) for one in there]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lacking == [False] * 160
    assert len(folders(tmp_path)) == 1


def test_what_nothing_asks_for_goes_in_time_and_what_was_cut_off_sooner(packed, tmp_path):
    other = pack({"made.json": b"[]"})
    for one in (packed, other):
        there = Unpacking(one.parcel, home := tmp_path / "home")
        send(one, there)
        there.finish()
    send(packed, Unpacking(packed.parcel, home))
    (cut,) = [name for name in folders(tmp_path) if "-" in name]
    now = time.time()
    for name, age in ((cut, CUT_OFF_S), (packed.parcel.id, KEPT_S), (other.parcel.id, KEPT_S)):
        os.utime(home / name, (now, now - age + 60))
    sweep(home, [])
    assert len(folders(tmp_path)) == 3
    for name, age in ((cut, CUT_OFF_S), (packed.parcel.id, KEPT_S), (other.parcel.id, KEPT_S)):
        os.utime(home / name, (now, now - age - 60))
    sweep(home, [packed.parcel])
    assert folders(tmp_path) == [packed.parcel.id]
    sweep(home, [])
    assert folders(tmp_path) == [packed.parcel.id], "it was asked for just now"
    sweep(tmp_path / "nowhere", [])


def test_what_is_short_of_a_file_is_sent_anew(packed, tmp_path):
    there = Unpacking(packed.parcel, tmp_path / "home")
    send(packed, there)
    there.finish()
    (there.folder / "made.json").unlink()
    assert there.lacks
    send(packed, there)
    there.finish()
    assert (there.folder / "made.json").read_bytes() == b"{}"


def test_what_was_changed_there_is_sent_anew(packed, tmp_path):
    there = Unpacking(packed.parcel, tmp_path / "home")
    send(packed, there)
    there.finish()
    (there.folder / "made.json").write_bytes(b"[]")
    assert there.lacks, "of the same size, and another file"
    send(packed, there)
    there.finish()
    assert (there.folder / "made.json").read_bytes() == b"{}"


def test_nothing_is_written_that_is_not_of_the_parcel(packed, tmp_path):
    there = Unpacking(packed.parcel, tmp_path / "home")
    for path in ("../esc", "/abs", "other.json"):
        with pytest.raises(Refused, match="no file"):
            there.take(path, b"x")
    with pytest.raises(Refused, match="name is not that of its files"):
        Unpacking(Parcel(id="../elsewhere", items=packed.parcel.items), tmp_path / "home")


def test_the_same_files_are_the_same_parcel_and_others_another(packed, tmp_path):
    assert pack(packed.sources).parcel == packed.parcel
    assert pack({**packed.sources, "made.json": b"[]"}).parcel.id != packed.parcel.id


@pytest.mark.parametrize("path", ["../x.json", "/x.json", "a/../../x.json", "a\\..\\x.json", ""])
def test_a_path_that_leads_elsewhere_is_refused(path, tmp_path):
    with pytest.raises(Refused, match="no file within"):
        Unpacking(Parcel(id="0" * 64, items=(Item(path=path, sha256="0" * 64, bytes=1),)), tmp_path)
