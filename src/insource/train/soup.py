"""One recipe trained from several seeds, the weights averaged: a uniform model soup (Wortsman et al. 2022, 2203.05482).

Runs that begin at one base end in one basin, and the middle of it generalises better than its edges, at the price of
one model to serve. The average is an adapter too: the factors side by side, so its rank is the sum of the runs' ranks.

Each run gets its share of the cores, as many runs at a time as there are cores: on two, two runs side by side train
1.23 times the rows a second of one run on both (docs/decisions/0007).
"""

import copy
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import msgspec
import torch

from insource.nouns import digest
from insource.train.checkpoint import Standing
from insource.train.course import Data
from insource.train.loop import Voice, train
from insource.train.model import Model
from insource.train.recipe import Plan


class _Stopped(Exception):
    """Another run failed, or the user wants no more."""


class Chorus:
    """One voice for runs side by side: steps counted through all of them, lines with the run's number."""

    def __init__(self, voice: Voice, runs: int) -> None:
        self.voice, self.steps, self.stop = voice, [0] * runs, threading.Event()
        self._turn = threading.Lock()

    def part(self, number: int) -> Voice:
        """The voice of run `number`; after `stop` its next word ends the run."""

        def progress(what: str, done: int, total: int) -> None:
            with self._turn:
                if self.stop.is_set():
                    raise _Stopped
                self.steps[number] = done
                self.voice.progress(what, sum(self.steps), total * len(self.steps))

        def say(line: str) -> None:
            with self._turn:
                self.voice.say(f"{line}, run {number + 1} of {len(self.steps)}")

        return Voice(say, progress, self.voice.threads)


def train_runs(model: Model, data: Data, plan: Plan, *, file: Path, run: str, voice: Voice) -> Standing:
    """Trains `plan.recipe.runs` times, each from the next seed, and leaves `model` at the mean, or at the best run.

    The mean is kept where the dev rows are at least as likely under it as under the best run. Each run has its own
    checkpoint beside `file`; see `loop.train`. Raises `StoreError` on a full disk.
    """
    runs = plan.recipe.runs
    if runs == 1:
        model.begin(plan.recipe.seed)
        return train(model, data, plan, file=file, run=run, voice=voice)
    ends, found, seconds = _all(model, data, plan, (file, run), voice)
    best = min(range(runs), key=lambda number: _nll(found[number]))
    model.take(_mean(ends, len(model.adapters)))
    seen = model.check(data.dev)
    kept = seen["nll"] <= _nll(found[best])
    if not kept:
        model.take(ends[best])
    share = f"{seen['accuracy']:.1%} of {model.counted(data.dev)} right"
    voice.say(f"  the mean of {runs} runs: {share}" + ("" if kept else f"; run {best + 1} is better and kept"))
    steps = sum(one.step for one in found)
    history = (*(line for one in found for line in one.history), seen | {"step": float(steps)})
    return msgspec.structs.replace(found[best], run=run, step=steps, seconds=seconds, history=history)


def _all(
    model: Model, data: Data, plan: Plan, where: tuple[Path, str], voice: Voice
) -> tuple[list[list[Any]], list[Standing], float]:
    """Every run's trained tensors and how it went, and the seconds until the last was done."""
    runs, threads = plan.recipe.runs, torch.get_num_threads()
    side_by_side = model.device.type == "cpu" and model.ranks.alone
    workers = min(runs, threads) if side_by_side else 1
    chorus = Chorus(voice, runs)
    ends: list[list[Any]] = [[] for _ in range(runs)]
    found = [Standing(run="") for _ in range(runs)]
    model.refresh()  # a tensor with a history cannot be copied
    models = [model, *(copy.deepcopy(model) for _ in range(workers - 1))]

    def work(worker: int) -> float:
        for number in range(worker, runs, workers):
            ends[number], found[number] = _run(models[worker], data, plan, where, (number, chorus))
        return sum(found[number].seconds for number in range(worker, runs, workers))

    torch.set_num_threads(threads // workers)
    try:
        with ThreadPoolExecutor(workers) as pool:
            try:
                done = [pool.submit(work, worker) for worker in range(workers)]
                wait(done, return_when=FIRST_EXCEPTION)
            finally:
                chorus.stop.set()
        errors = [error for error in (one.exception() for one in done) if error is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, _Stopped)):
            raise error
        return ends, found, max(one.result() for one in done)
    finally:
        torch.set_num_threads(threads)


def _run(
    model: Model, data: Data, plan: Plan, where: tuple[Path, str], part: tuple[int, Chorus]
) -> tuple[list[Any], Standing]:
    file, run = where
    number, chorus = part
    seed = plan.recipe.seed + number
    own = msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, seed=seed))
    model.begin(seed)
    place = file.with_stem(f"{file.stem}-{number + 1}")
    standing = train(model, data, own, file=place, run=digest([run, number]), voice=chorus.part(number))
    return [parameter.detach().clone() for parameter in model.parameters], standing


def _nll(standing: Standing) -> float:
    """The dev loss of the check that was kept."""
    return next(line["nll"] for line in standing.history if line["step"] == standing.best_step)


def _mean(ends: Sequence[Sequence[Any]], adapters: int) -> list[Any]:
    """The mean of the runs' trained tensors: of each adapter's product b·a, as a of rank n·r and b; then of the heads.

    `ends` holds the tensors of n runs in the order of `Model.parameters`.
    """
    runs, found = len(ends), []
    for i in range(0, 2 * adapters, 2):
        found += [torch.cat([end[i] for end in ends]), torch.cat([end[i + 1] for end in ends], dim=1) / runs]
    return found + [sum(end[i] for end in ends) / runs for i in range(2 * adapters, len(ends[0]))]
