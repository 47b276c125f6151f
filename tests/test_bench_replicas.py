"""The rows of bench/replicas.py: what holds is said to hold, and one call above a limit is not."""

import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from replicas_rows import replicas

GOOD = {
    "limits": {
        "rate": {"limit": 120, "most": 120, "answered": 240},
        "once": {"limit": 4, "most": 4, "answered": 1000},
        "money": {"limit": 0.2, "most": 0.198, "answered": 66},
        "refused": 9000,
    },
    "control": {
        "rate": {"limit": 120, "most": 360, "answered": 360},
        "once": {"limit": 4, "most": 12, "answered": 700},
        "money": {"limit": 0.2, "most": 0.6, "answered": 198},
    },
    "faults": {
        "answers": 5000, "lost": 0, "lost_upper95": 0.0006, "twice": 0, "spooled": 900, "chain_faults": 0, "chains": 3,
        "rounds": 1, "recovery_s": {"killed": [3.0], "restarted": [0.1], "cut": [0.1]},
    },
    "forgets": {"lost": 30, "answers": 900},
    "speed": {
        "one": {"calls_per_s": 1000.0, "cores": {"gateways": 0.9, "callers": 0.3}, "calls_per_core_s": 1111.0},
        "two": {"calls_per_s": 1700.0, "cores": {"gateways": 1.7, "callers": 0.5}, "calls_per_core_s": 1000.0},
        "ratio": 1.7, "ratios": [1.6, 1.8],
        "machine_cores": 4,
    },
}  # fmt: skip


def changed(*path, to):
    document = copy.deepcopy(GOOD)
    at = document
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = to
    return [holds for _, _, _, holds in replicas(document)]


def test_what_holds_is_said_to_hold():
    assert all(holds for _, _, _, holds in replicas(GOOD))


def test_what_does_not_is_not():
    assert changed("limits", "rate", "most", to=121)[0] is False
    assert changed("limits", "money", "most", to=0.201)[0] is False
    assert changed("control", "rate", "most", to=120).count(False) == 0, "one limit of the control above is enough"
    assert changed("faults", "lost", to=1)[2] is False
    assert changed("faults", "recovery_s", "killed", to=[10.5])[3] is False
    assert changed("forgets", "lost", to=0)[4] is False
    slow = {**GOOD["speed"], "ratio": 1.2, "two": {**GOOD["speed"]["two"], "calls_per_core_s": 500.0}}
    assert changed("speed", to=slow)[5] is False
