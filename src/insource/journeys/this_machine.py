"""The machine that this runs on, as a card among others: its memory, how quickly it is read and matrices multiply."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

from insource.price.cards import Card

READ, SIDE, TIMES = 64_000_000, 2_048, 3  # numbers of 4 bytes each core reads; side of a matrix; the best of so many


def this_machine() -> Card:
    """Its figures, found in about two seconds with numbers of 32 bits; other work makes them smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Card(
        name=f"this machine, {cores} cores",
        gb=memory / 1e9,
        gb_s=_read(cores) / 1e9,
        tflops=_multiplied() / 1e12,
        source="measured here",
        measured=True,
    )


def _read(cores: int) -> float:
    """Bytes a second, all cores reading memory of their own."""
    parts = [np.ones(READ // cores, np.float32) for _ in range(cores)]
    with ThreadPoolExecutor(cores) as pool:
        seconds = min(_took(lambda: list(pool.map(np.sum, parts))) for _ in range(TIMES))
    return sum(part.nbytes for part in parts) / seconds


def _multiplied() -> float:
    """Operations a second of products of large matrices: two for each of their terms."""
    one = np.ones((SIDE, SIDE), np.float32)
    return 2 * SIDE**3 / min(_took(lambda: one @ one) for _ in range(TIMES))


def _took(work: Callable[[], object]) -> float:
    begin = perf_counter()
    work()
    return perf_counter() - begin
