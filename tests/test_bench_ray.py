"""The rows of bench/ray_batch.py: what holds is said to hold, and one faulty run is not."""

import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from ray_rows import ray_batch

RUN = {"documents": 100, "missing": 0, "twice": 0, "failed": 0, "lost": True, "digest": "d"}
GOOD = {
    "base": "smollm2-135m", "machine": "m", "ratio": 1.1, "low": 1.0, "high": 1.2, "upper95": 0.45,
    "rounds": [{"documents": 50, "batch": 110.0, "ray_data": 100.0, "ratio": 1.1}] * 2,
    "kills": {
        "local": [RUN | {"lost": False}], "killed": [RUN] * 5, "control": [RUN | {"failed": 64, "digest": "e"}] * 5,
    },
}  # fmt: skip


def held(**changed):
    """Which rows hold where one of the killed runs, or of the control's, is another."""
    document = copy.deepcopy(GOOD)
    for name, run in changed.items():
        document["kills"][name][2] |= run
    return [holds for *_, holds in ray_batch(document)]


def test_a_good_run_holds_and_says_its_n():
    assert held() == [True, True, True]
    assert (
        "0 twice of 500; the node was at work in 5 of them (rate of faulty ones below 45%)"
        in list(ray_batch(GOOD))[1][2]
    )


def test_one_other_digest_one_missing_or_nodes_that_never_had_work_are_not_held():
    for fault in ({"digest": "x"}, {"missing": 1}, {"twice": 1}):
        assert held(killed=fault) == [True, False, True]
    idle = [one | {"lost": False} for one in GOOD["kills"]["killed"]]
    rows = list(ray_batch(GOOD | {"kills": GOOD["kills"] | {"killed": idle}}))
    assert not rows[1][3]


def test_a_control_that_fails_nothing_shows_that_the_kills_did_nothing():
    assert held(control={"failed": 0}) == [True, True, False]


def test_slower_than_ray_data_is_said():
    rows = list(ray_batch(GOOD | {"ratio": 0.8}))
    assert not rows[0][3]
