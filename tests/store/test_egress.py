"""The journal of what left: summed up, kept over restarts, added to by many at once, never in the way."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec

from insource.store import egress
from insource.store.egress import Egress, Journal, read

ONE = Egress(
    purpose="engine a", destination="a.example:443", region="eu", address="192.0.2.1",
    first="2026-11-01T00:00:00+00:00", last="2026-11-01T00:00:00+00:00", connections=1,
)  # fmt: skip
CHILD = """
import sys, msgspec
from pathlib import Path
from insource.store import egress
egress.FOLD_BYTES = 2_000
one = msgspec.json.decode(sys.argv[2], type=egress.Egress)
journal = egress.Journal(Path(sys.argv[1]))
for _ in range(200):
    journal.note(one)
    journal.flush()
"""


def changed(**more):
    return msgspec.structs.replace(ONE, **more)


def test_it_sums_up_by_purpose_and_destination_and_survives_a_restart(tmp_path):
    path = tmp_path / "egress.jsonl"
    for day in (2, 5, 3):
        journal = Journal(path)
        for _ in range(10):
            journal.note(changed(last=f"2026-11-0{day}T00:00:00+00:00", address=f"192.0.2.{day}", sent=7))
        journal.note(changed(purpose="model download", destination="hub.example:443"))
        journal.note(changed(connections=0, refused=1, why="no", last="2026-11-04T00:00:00+00:00"))
        journal.flush()
    found, spoiled = read([path, tmp_path / "none.jsonl"])
    assert spoiled == 0
    assert [(one.purpose, one.connections, one.refused, one.sent) for one in found] == [
        ("engine a", 30, 3, 210), ("model download", 3, 0, 0)
    ]  # fmt: skip
    assert (found[0].first[:10], found[0].last[:10], found[0].address, found[0].why) == (
        "2026-11-01", "2026-11-05", "192.0.2.5", "no"
    )  # fmt: skip


def test_a_new_destination_and_a_first_refusal_are_on_disk_at_once_and_counts_are_not_a_write_each(tmp_path):
    path = tmp_path / "egress.jsonl"
    journal = Journal(path)
    for _ in range(1000):
        journal.note(ONE)
    assert [one.connections for one in read([path])[0]] == [1]
    size = path.stat().st_size
    journal.note(changed(connections=0, refused=1, why="no"))
    assert [one.refused for one in read([path])[0]] == [1]
    journal.flush()
    journal.flush()
    assert [one.connections for one in read([path])[0]] == [1000]
    assert path.stat().st_size < 5 * size


def test_counts_are_written_when_their_time_has_come(tmp_path, monkeypatch):
    monkeypatch.setattr(egress, "LATE_S", 0.0)
    journal = Journal(tmp_path / "egress.jsonl")
    for count in range(1, 4):
        journal.note(ONE)
        assert read([tmp_path / "egress.jsonl"])[0][0].connections == count


def test_many_processes_and_threads_lose_nothing_while_the_file_is_summed_up(tmp_path, monkeypatch):
    path = tmp_path / "egress.jsonl"
    monkeypatch.setattr(egress, "FOLD_BYTES", 2_000)
    words = [sys.executable, "-c", CHILD, str(path), json.dumps(msgspec.to_builtins(ONE))]
    children = [subprocess.Popen(words) for _ in range(3)]
    journal = Journal(path)

    def many(_):
        for _ in range(50):
            journal.note(changed(purpose="engine b"))
            journal.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, range(4)))
    assert [child.wait(60) for child in children] == [0, 0, 0]
    found, spoiled = read([path])
    assert spoiled == 0
    assert [one.connections for one in found] == [600, 200]
    assert path.stat().st_size < 10_000


def test_a_line_that_was_cut_is_told_of_and_spoils_no_other(tmp_path):
    path = tmp_path / "egress.jsonl"
    journal = Journal(path)
    journal.note(ONE)
    with path.open("ab") as file:
        file.write(b'\n{"purpose": "engine a", "dest')
    journal.note(changed(purpose="engine b"))
    found, spoiled = read([path])
    assert ([one.purpose for one in found], spoiled) == (["engine a", "engine b"], 1)


def test_a_disk_that_takes_nothing_is_tried_again_and_stops_no_connection(tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "state" / "egress.jsonl")
    for _ in range(3):
        journal.note(ONE)
    (tmp_path / "state").unlink()
    journal.note(ONE)
    journal.flush()
    assert [one.connections for one in read([tmp_path / "state" / "egress.jsonl"])[0]] == [4]


def test_without_a_file_nothing_is_kept(tmp_path):
    journal = Journal(None)
    journal.note(ONE)
    journal.flush()
    assert list(tmp_path.iterdir()) == []
