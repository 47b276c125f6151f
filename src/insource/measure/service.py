"""What one replica can do: calls one after another, and then as many as it takes at once. No queue is in either.

Few calls are measured, and what a call takes goes by its length. So the inputs are asked in an order of which every
stretch has short and long ones as all of them do: steps of the golden ratio through what is sorted by length (the
additive sequence of the lowest discrepancy: Kuipers and Niederreiter, Uniform Distribution of Sequences, 1974).
"""

import asyncio
import math
from collections.abc import Sequence
from time import perf_counter

from insource.measure.load import Progress, Send
from insource.nouns import Noun

LEAST, MOST, PATIENCE_S = 20, 200, 10.0
SOME = (4, 16)  # callers at once: most batches are small, and a further call in them costs more than in large ones
CROWD, CROWD_S, LONGEST_S = 64, 5.0, 30.0
PAUSE_S = 0.01  # after a refusal
GOLDEN = (math.sqrt(5) - 1) / 2


class Served(Noun, frozen=True, kw_only=True):
    """`n` calls one after another took `mean_ms` each, with `variation` as their squared coefficient of variation.

    With `crowd` callers, each of whom sends the next call when the last is answered, `crowd_per_s` were answered; with
    fewer, as `some` has it: callers, answers a second.
    """

    mean_ms: float
    variation: float
    n: int
    crowd: int
    crowd_per_s: float
    some: tuple[tuple[int, float], ...] = ()


async def served(send: Send, inputs: Sequence[str], progress: Progress) -> Served:
    """Measures it: 20 calls at least and 10 seconds at most alone, then 5 to 30 seconds each with 4, 16 and 64 callers.

    Each crowd goes on with the inputs where the last one ended. A call that failed counts in neither.
    """
    inputs = evenly(inputs)
    took: list[float] = []
    began = perf_counter()
    for number in range(MOST):
        if number >= LEAST and perf_counter() - began > PATIENCE_S:
            break
        progress("one call after another", number, MOST)
        start = perf_counter()
        if not (await send(inputs[number % len(inputs)])).error:
            took.append(perf_counter() - start)
    mean = sum(took) / max(1, len(took))
    spread = sum((one - mean) ** 2 for one in took) / max(1, len(took) - 1)
    rates, first = list[tuple[int, float]](), 0
    for callers in (*SOME, CROWD):
        progress(f"{callers} callers at once", len(rates), len(SOME) + 1)
        answered, rate = await _crowd(send, [*inputs[first:], *inputs[:first]], callers)
        rates.append((callers, rate))
        first = (first + answered) % len(inputs)
    progress(f"{CROWD} callers at once", len(rates), len(SOME) + 1)
    return Served(
        mean_ms=mean * 1e3,
        variation=spread / mean**2 if mean else 0.0,
        n=len(took),
        crowd=CROWD,
        crowd_per_s=rates[-1][1],
        some=tuple(rates[:-1]),
    )


def evenly(inputs: Sequence[str]) -> list[str]:
    """All of them, each stretch of which is about as long as the whole on average."""
    steps = sorted(range(len(inputs)), key=lambda number: (number * GOLDEN) % 1)
    found = [""] * len(inputs)
    for text, step in zip(sorted(inputs, key=len), steps, strict=True):
        found[step] = text
    return found


async def _crowd(send: Send, inputs: Sequence[str], callers: int) -> tuple[int, float]:
    """Answers, and answers a second up to the last of them."""
    began = perf_counter()
    ends: list[float] = []

    async def caller(number: int) -> None:
        while _goes_on(perf_counter() - began, len(ends), callers):
            number += callers
            if (await send(inputs[number % len(inputs)])).error:
                await asyncio.sleep(PAUSE_S)
            else:
                ends.append(perf_counter())

    await asyncio.gather(*[caller(number) for number in range(callers)])
    return len(ends), len(ends) / (ends[-1] - began) if ends else 0.0


def _goes_on(seconds: float, answered: int, callers: int) -> bool:
    return seconds < CROWD_S or (seconds < LONGEST_S and answered < 2 * callers)
