"""Bars of time as multiples of what a plain loop takes here and now: a slow machine is no fault of the code."""

import time

TURNS = 1_000_000
# Seconds of a million turns on the machines with AVX-512 that the bars were set on: an estimate, for nobody measured it
# there. A machine without took 0.058 with nothing beside it (Python 3.11.2). Measure it when you are at one.
TURNS_S = 0.035


def within(spent: float, bar: float) -> bool:
    """Whether `spent` seconds are fewer than `bar`, or would be on a machine of that pace."""
    return spent < bar or spent < bar * _slower()


def _slower() -> float:
    start, total = time.process_time(), 0
    for turn in range(3 * TURNS):
        total += turn
    return (time.process_time() - start) / (3 * TURNS_S)
