"""`insource train` over two devices as a person types it: however it ends, no rank is left, and it goes on."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import test_train_verb as one

from command_line import started

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_cache")]
base, collected, plant = one.base, one.collected, one.plant
RECIPE = "batch = 32\nrank = 4\npatience = 100\ndevices = 2\n"


def ranks_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, of in (line.split() for line in listed.splitlines()) if int(of) == parent]


def left(pids: list[int]) -> list[int]:
    """Those that are still there after a while."""
    until = time.monotonic() + 20
    while (found := [pid for pid in pids if _runs(pid)]) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")  # dead, and nobody asked


def interrupted(process: subprocess.Popen, moment: str, end: signal.Signals) -> tuple[str, list[int]]:
    """What was said until the end, after a signal at the line that holds `moment`; and the ranks there were."""
    assert process.stderr is not None
    seen, ranks = "", []
    for line in process.stderr:
        seen += line
        if moment in line:
            ranks = ranks_of(process.pid)
            process.send_signal(end)
            break
    _, rest = process.communicate(timeout=60)
    assert moment in seen, seen + rest
    return rest, ranks


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_rank_outlives_the_command_and_the_same_command_goes_on(
    plant: Path, base: Path, end: signal.Signals
) -> None:
    (plant / "recipe.toml").write_text(RECIPE + "epochs = 3\n")
    words = ("train", "defects", "--base", f"file:{base}", "--recipe", str(plant / "recipe.toml"))
    process = started(plant, *words)
    said, ranks = interrupted(process, "epoch 1 of 3", end)
    assert len(ranks) == 2
    assert left(ranks) == []
    assert process.returncode == (130 if end == signal.SIGINT else -end), said
    assert "Traceback" not in said
    assert one.releases(plant) == []
    done = one.insource(plant, *words, "--json")
    assert done.returncode == 0, done.stderr
    assert "epoch 2 of 3" in done.stderr
    assert "epoch 1 of 3" not in done.stderr
    assert json.loads(done.stdout)["version"] == "1.0.0"
    shown = plant / ".insource" / "releases" / "defects" / "1.0.0" / "manifest.json"
    assert json.loads(shown.read_text())["recipe"]["devices"] == 2
    assert one.insource(plant, "release", "verify", "defects@1.0.0").returncode == 0
    assert not list((plant / ".insource" / "training" / "defects").glob("ranks*"))


def test_a_rank_that_is_killed_ends_the_command_with_what_to_do(plant: Path, base: Path) -> None:
    (plant / "recipe.toml").write_text(RECIPE + "epochs = 100\n")
    process = started(plant, "train", "defects", "--base", f"file:{base}", "--recipe", str(plant / "recipe.toml"))
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 1 of" in line:
            ranks = ranks_of(process.pid)
            os.kill(ranks[-1], signal.SIGKILL)
            break
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 4, rest
    assert "was ended by SIGKILL" in rest
    assert "the same command goes on" in rest
    assert "Traceback" not in rest
    assert left(ranks) == []
