"""The training loop: AdamW, one learning-rate cycle, the best dev check kept.

What it needs it is given; it knows nothing of releases or the store. Everything random comes from the recipe's seed
and the step number, so a run resumed from a checkpoint ends in the same weights as one never stopped (same machine,
same thread count, as many ranks). Of several ranks each goes through every step with its share of the batch; the
first writes.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from insource.train import checkpoint
from insource.train.checkpoint import Standing
from insource.train.course import Data
from insource.train.gradient import Gradient
from insource.train.model import Model
from insource.train.recipe import Plan, Recipe
from insource.train.rows import Row, batches

Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]
CHECKPOINT_SECONDS = 60.0


class Voice:
    """How a run speaks: `say` a line, `progress` a step; and the threads it may use (0 = all)."""

    def __init__(self, say: Say, progress: Progress, threads: int = 0) -> None:
        self.say, self.progress, self.threads = say, progress, threads


def train(model: Model, data: Data, plan: Plan, *, file: Path, run: str, voice: Voice) -> Standing:
    """Trains `model` in place to its best dev check and says how it went.

    `file` is the checkpoint, `run` the digest of all that the run depends on. Raises `StoreError` on a full disk.
    """
    recipe, parameters = plan.recipe, model.parameters
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    standing, best = _resume(file, run, optimizer, parameters)
    model.ranks.begin(standing.step, parameters)
    saved = started = time.monotonic()
    before = standing.seconds
    with Gradient(model) as gradient:
        for step, batch, last in _rest(data.rows, recipe, standing):
            _set_rate(optimizer, _rate(step, plan))
            loss = gradient.of(batch)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            standing = msgspec.structs.replace(standing, step=step + 1, seconds=before + time.monotonic() - started)
            voice.progress(f"training, loss {loss:.3f}", step + 1, plan.steps)
            if last:
                standing, best = _judge(model, model.check(data.dev), standing, best, recipe.patience)
                share = standing.history[-1]["accuracy"]
                done = len(standing.history)
                voice.say(f"  epoch {done} of {recipe.epochs}: {share:.1%} of {model.counted(data.dev)} right")
            if model.ranks.first and (last or time.monotonic() - saved > CHECKPOINT_SECONDS):
                checkpoint.save(file, standing, _tensors(optimizer, parameters, best))
                saved = time.monotonic()
            if standing.finished:
                break
    model.take(best)
    return standing


def _rest(rows: Sequence[Row], recipe: Recipe, standing: Standing) -> Iterator[tuple[int, list[Row], bool]]:
    """The steps still to go: number, batch, and whether it is the last of its epoch."""
    if standing.finished:
        return
    for epoch in range(recipe.epochs):
        order = batches(rows, recipe.batch, recipe.seed, epoch)
        for number, batch in enumerate(order):
            step = epoch * len(order) + number
            if step >= standing.step:
                yield step, batch, number + 1 == len(order)


def _set_rate(optimizer: Any, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _rate(step: int, plan: Plan) -> float:
    """One cycle (Smith 2018): a tenth of the steps rising from 1/25 of the peak, then a cosine to nothing."""
    peak, rise = plan.recipe.learning_rate, max(1, plan.steps // 10)
    if step < rise:
        return peak * (1 + 24 * step / rise) / 25
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, plan.steps - rise)))


def _judge(
    model: Model, seen: dict[str, float], standing: Standing, best: list[Any], patience: int
) -> tuple[Standing, list[Any]]:
    score = seen["accuracy"] - 1e-3 * seen["nll"]
    better = score > standing.best
    if better:
        best = [parameter.detach().clone() for parameter in model.parameters]
    worse = 0 if better else standing.worse + 1
    changed = msgspec.structs.replace(
        standing,
        best=score if better else standing.best,
        best_step=standing.step if better else standing.best_step,
        worse=worse,
        finished=worse >= patience,
        history=(*standing.history, seen | {"step": float(standing.step)}),
    )
    return changed, best


def _tensors(optimizer: Any, parameters: list[Any], best: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, parameter in enumerate(parameters):
        state = optimizer.state[parameter]
        found |= {f"p{i}": parameter.detach(), f"m{i}": state["exp_avg"], f"v{i}": state["exp_avg_sq"]}
        found[f"s{i}"] = state["step"].reshape(1)
    return found | {f"b{i}": tensor for i, tensor in enumerate(best)}


def _resume(file: Path, run: str, optimizer: Any, parameters: list[Any]) -> tuple[Standing, list[Any]]:
    found = checkpoint.load(file, run)
    if found is None:
        return Standing(run=run), [parameter.detach().clone() for parameter in parameters]
    standing, tensors = found
    with torch.no_grad():
        for i, parameter in enumerate(parameters):
            parameter.copy_(tensors[f"p{i}"])
            optimizer.state[parameter] = {
                "step": tensors[f"s{i}"].reshape(()).to(parameter.device),  # a fused step counts where it computes
                "exp_avg": tensors[f"m{i}"].to(parameter.device),
                "exp_avg_sq": tensors[f"v{i}"].to(parameter.device),
            }
    return standing, [tensors[f"b{i}"].to(parameters[i].device) for i in range(len(parameters))]
