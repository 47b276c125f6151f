"""Killed at named moments: the moments are there, and what was answered before each of them is on record."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import fail_points
from fail_points import POINTS, found


@pytest.mark.parametrize("name", POINTS)
def test_every_point_is_a_function_of_the_product(name):
    _, _, function = found(POINTS[name])
    assert callable(function)


def test_there_are_points_of_every_part():
    assert len(POINTS) >= 10
    assert any(asyncio.iscoroutinefunction(found(point)[2]) for point in POINTS.values())


@pytest.mark.slow
def test_killed_once_at_each_of_them_it_loses_nothing(tmp_path):
    command = [sys.executable, str(Path(fail_points.__file__).with_name("kill_points.py")), "--times", "1", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=tmp_path)
    total = json.loads(done.stdout)["sum"]
    assert (total["points"], total["kills"], total["missed"]) == (len(POINTS), len(POINTS), 0)
    assert total["answers"] > 1000
    assert (total["lost"], total["twice"], total["audit_faults"], total["wrong"]) == (0, 0, 0, 0)
