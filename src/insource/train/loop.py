"""The training loop: AdamW, one learning-rate cycle, loss on the label rows only, the best dev check kept.

What it needs it is given; it knows nothing of releases or the store. Everything random comes from the recipe's seed
and the step number, so a run resumed from a checkpoint ends in the same weights as one never stopped (same machine,
same thread count).
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.nn import functional

from insource.engines.readout import Reader, pad
from insource.train import checkpoint
from insource.train.checkpoint import Standing
from insource.train.head import Head
from insource.train.lora import Adapted
from insource.train.recipe import Plan
from insource.train.rows import Row, batches

Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]
CHECKPOINT_SECONDS = 60.0


class Voice:
    """How a run speaks: `say` a line, `progress` a step; and the threads it may use (0 = all)."""

    def __init__(self, say: Say, progress: Progress, threads: int = 0) -> None:
        self.say, self.progress, self.threads = say, progress, threads


class Model:
    """What is trained: the adapters of a body, and the heads it is read through, one an output."""

    def __init__(self, body: Any, adapters: list[Adapted], heads: list[Head], reader: Reader) -> None:
        self.body, self.adapters, self.heads, self.reader = body, adapters, heads, reader

    @property
    def parameters(self) -> list[Any]:
        """Every trained tensor, in a fixed order."""
        return [p for adapted in self.adapters for p in (adapted.a, adapted.b)] + [h.values for h in self.heads]

    def begin(self, seed: int) -> None:
        """Puts every trained tensor back to where a run with this seed begins."""
        generator = torch.Generator().manual_seed(seed)
        for adapted in self.adapters:
            adapted.begin(generator)
        for head in self.heads:
            head.begin()

    def take(self, tensors: Sequence[Any]) -> None:
        """Sets the trained tensors to these; adapters take the rank of what they are given."""
        factors = iter(tensors)
        for adapted in self.adapters:
            adapted.take(next(factors), next(factors))
        with torch.no_grad():
            for head in self.heads:
                head.values.copy_(next(factors))
        self.refresh()

    def refresh(self) -> None:
        """Brings every merged weight up to date, and what the reader reads with."""
        for adapted in self.adapters:
            adapted.refresh()
        self.reader.prefix.renew()
        self.reader.rows = [head.rows for head in self.heads]


class Data:
    """Encoded rows to learn from and to check on; `levels` the ancestor groups of each output (see `_ancestors`)."""

    def __init__(self, rows: Sequence[Row], dev: Sequence[Row], levels: Sequence[Sequence[Any]]) -> None:
        self.rows, self.dev, self.levels = rows, dev, levels


def train(model: Model, data: Data, plan: Plan, *, file: Path, run: str, voice: Voice) -> Standing:
    """Trains `model` in place to its best dev check and says how it went.

    `file` is the checkpoint, `run` the digest of all that the run depends on. Raises `StoreError` on a full disk.
    """
    recipe, parameters = plan.recipe, model.parameters
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    standing, best = _resume(file, run, optimizer, parameters)
    saved = started = time.monotonic()
    before = standing.seconds
    for epoch in range(recipe.epochs):
        order = batches(data.rows, recipe.batch, recipe.seed, epoch)
        for number, batch in enumerate(order):
            step = epoch * len(order) + number
            if step < standing.step or standing.finished:
                continue
            loss = _step(model, batch, optimizer, _rate(step, plan), data.levels)
            standing = msgspec.structs.replace(standing, step=step + 1, seconds=before + time.monotonic() - started)
            voice.progress(f"training, loss {loss:.3f}", step + 1, plan.steps)
            if number + 1 == len(order):
                standing, best = _judge(model, check(model, data.dev), standing, best, recipe.patience)
                share = standing.history[-1]["accuracy"]
                voice.say(f"  epoch {epoch + 1} of {recipe.epochs}: {share:.1%} of {len(data.dev)} dev rows right")
            if number + 1 == len(order) or time.monotonic() - saved > CHECKPOINT_SECONDS:
                checkpoint.save(file, standing, _tensors(optimizer, parameters, best))
                saved = time.monotonic()
    model.take(best)
    return standing


def check(model: Model, dev: Sequence[Row]) -> dict[str, float]:
    """On the dev rows: `accuracy`, the share with every output right, and `nll`, in nats a row over all outputs."""
    right = torch.ones(len(dev), dtype=torch.bool)
    nll = 0.0
    for output, scores in enumerate(dev_logits(model, dev)):
        targets = torch.tensor([row.targets[output] for row in dev])
        right &= scores.argmax(1) == targets
        nll += float(functional.cross_entropy(scores, targets))
    return {"accuracy": float(right.float().mean()), "nll": nll}


def dev_logits(model: Model, dev: Sequence[Row]) -> list[Any]:
    """Per output the float32 logits [rows, labels] of the dev rows, each output read after the model's own last."""
    model.refresh()
    return model.reader.logits([row.ids[: row.read + 1] for row in dev])


def _step(model: Model, batch: Sequence[Row], optimizer: Any, rate: float, levels: Sequence[Any]) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    model.refresh()
    device = model.reader.device
    ids, _ = pad([row.ids for row in batch], model.reader.end, str(device))
    hidden = model.reader.prefix.read(ids).last_hidden_state
    at = torch.arange(len(batch), device=device)
    read = torch.tensor([row.read for row in batch], device=device)
    loss = torch.zeros((), device=device)
    for output, head in enumerate(model.heads):
        logits = head.logits(hidden[at, read + output])
        targets = torch.tensor([row.targets[output] for row in batch], device=device)
        loss = loss + functional.cross_entropy(logits, targets) + _ancestors(logits, targets, levels[output])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    return float(loss.detach())


def _ancestors(logits: Any, targets: Any, levels: Sequence[Any]) -> Any:
    """Half the mean negative log-probability of the target's ancestors; each node's probability is its leaves' sum."""
    if not levels:
        return 0.0
    probabilities = logits.softmax(1)
    total = 0.0
    for groups in levels:
        nodes = int(groups.max()) + 1
        summed = logits.new_zeros(len(logits), nodes).index_add(1, groups, probabilities)
        total = total + functional.nll_loss((summed + 1e-9).log(), groups[targets])
    return 0.5 * total / len(levels)


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
                "step": tensors[f"s{i}"].reshape(()),
                "exp_avg": tensors[f"m{i}"].to(parameter.device),
                "exp_avg_sq": tensors[f"v{i}"].to(parameter.device),
            }
    return standing, [tensors[f"b{i}"].to(parameters[i].device) for i in range(len(parameters))]
