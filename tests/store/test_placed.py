"""What is written whole or not at all leaves nothing behind, also where its process was killed."""

import os
import subprocess
import sys
import time

from insource.store.files import UNLOCKED_S, placed

KILLED = """
import os, signal, sys
from pathlib import Path
from insource.store.files import placed
with placed(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def parts(folder):
    return sorted(folder.glob(".insource-*.part"))


def aged(path, by=UNLOCKED_S + 1):
    os.utime(path, (time.time() - by,) * 2)


def test_what_a_killed_process_left_goes_with_the_next(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], check=False)
    (left,) = parts(tmp_path)
    assert (left / "out").read_text() == "half"
    with placed(tmp_path / "young") as part:
        part.write_text("whole")
    assert parts(tmp_path) == [left], "its process may not have locked it yet"
    aged(left)
    with placed(tmp_path / "out") as part:
        part.write_text("whole")
    assert parts(tmp_path) == []
    assert (tmp_path / "out").read_text() == "whole"


def test_where_somebody_still_writes_nothing_is_taken_away(tmp_path):
    with placed(tmp_path / "slow") as slow:
        slow.write_text("slow")
        aged(slow.parent)
        with placed(tmp_path / "quick") as quick:
            quick.write_text("quick")
    assert (tmp_path / "slow").read_text() == "slow"
    assert parts(tmp_path) == []


def test_what_only_has_such_a_name_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / ".insource-link.part").symlink_to(tmp_path / "mine")
    (tmp_path / ".insource-file.part").write_text("mine")
    aged(tmp_path / "mine")
    aged(tmp_path / ".insource-file.part")
    with placed(tmp_path / "out") as part:
        part.write_text("whole")
    assert (tmp_path / "mine" / "file").read_text() == "mine"
    assert [path.name for path in parts(tmp_path)] == [".insource-file.part", ".insource-link.part"]
