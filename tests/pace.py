"""Bars of time as multiples of what a plain loop takes here and now: a slow machine is no fault of the code."""

import time

TURNS = 1_000_000
TURNS_S = 0.058  # measured for a million turns: AMD EPYC without AVX-512, nothing beside it, Python 3.11.2


def within(spent: float, bar: float) -> bool:
    """Whether `spent` seconds are fewer than `bar`, or would be on the machine that `TURNS_S` was measured on."""
    return spent < bar or spent < bar * _slower()


def _slower() -> float:
    start, total = time.process_time(), 0
    for turn in range(3 * TURNS):
        total += turn
    return (time.process_time() - start) / (3 * TURNS_S)
