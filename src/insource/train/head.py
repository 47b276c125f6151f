"""The label rows of one output: where they begin, and the coordinates they are trained in.

A base model's hidden states share a large mean: on BANKING77 it is over four times as long as what differs from text to
text. Plain label rows under Adam then move along the mean at every step. So each row is trained as a row of V in
coordinates where that mean is of length one and the rest of unit variance, and read as V·P: the same linear head,
exactly, better conditioned. V begins at the class means (Rocchio's nearest centroid; probe first, then fine-tune: Kumar
et al. 2022, arXiv:2202.10054). Whitening the rest as well learns faster and generalises worse: it was tried.
"""

from collections.abc import Sequence
from typing import Any

import torch

from insource.engines.prefix import Prefix
from insource.engines.readout import by_length, pad
from insource.train.rows import Row

SAMPLE = 2048
FIRST_LOGIT = 4.0


class Head:
    """One output's label rows, `rows` [labels, hidden], trained through `values` [labels, hidden]."""

    def __init__(self, states: Any, targets: Sequence[int], labels: int) -> None:
        """`states` [n, hidden] are hidden states of the frozen base, float32; `targets` their label numbers."""
        self.projection = _coordinates(states)
        self.first = _centroids(states @ self.projection, targets, labels)
        self.values = torch.nn.Parameter(self.first.clone())

    def begin(self) -> None:
        """Puts the rows back to where training begins."""
        with torch.no_grad():
            self.values.copy_(self.first)

    @property
    def rows(self) -> Any:
        """The rows as the vocabulary head holds them, detached."""
        return self.values.detach() @ self.projection

    def logits(self, hidden: Any) -> Any:
        """Float32 logits [n, labels] of hidden states [n, hidden]."""
        return hidden.float() @ self.projection @ self.values.T


def heads(prefix: Prefix, rows: Sequence[Row], labels: Sequence[int], filler: int) -> list[Head]:
    """One Head per output (`labels` says how many each has), from the states of the first and last `rows`.

    The last ones are the labels' own names where they are examples, so that every label has at least one.
    """
    sample = list(rows) if len(rows) <= SAMPLE else [*rows[: SAMPLE // 2], *rows[-SAMPLE // 2 :]]
    states = _states(prefix, sample, len(labels), filler)
    return [Head(states[k], [row.targets[k] for row in sample], count) for k, count in enumerate(labels)]


def _states(prefix: Prefix, rows: Sequence[Row], outputs: int, filler: int) -> list[Any]:
    found: list[Any] = [None] * outputs
    device = prefix.body.device
    with torch.inference_mode():
        for batch in by_length([len(row.ids) for row in rows]):
            ids, _ = pad([rows[i].ids for i in batch], filler, str(device))
            hidden = prefix.read(ids).last_hidden_state
            read = torch.tensor([rows[i].read for i in batch], device=device)
            for k in range(outputs):
                if found[k] is None:
                    found[k] = torch.empty(len(rows), hidden.shape[-1], device=device)
                found[k][batch] = hidden[torch.arange(len(batch), device=device), read + k].float()
    # leaves inference mode: what is trained next is computed from these
    return [states.clone() for states in found]


def _coordinates(states: Any) -> Any:
    """The symmetric P [hidden, hidden] that gives `states` a mean of length one, and unit variance across it."""
    mean = states.mean(0)
    common = mean / mean.norm()
    spread = (states - mean).square().mean().sqrt().clamp_min(1e-6)
    along = torch.outer(common, common)
    return (torch.eye(len(mean), device=states.device) - along) / spread + along / mean.norm()


def _centroids(states: Any, targets: Sequence[int], labels: int) -> Any:
    """Class means of centred states, shrunk by one row each.

    The scale gives a typical text a logit of about `FIRST_LOGIT` where it is like its class.
    """
    centred = states - states.mean(0)
    number = torch.tensor(targets, device=states.device)
    counts = torch.zeros(labels, device=states.device).index_add(
        0, number, torch.ones(len(states), device=states.device)
    )
    means = torch.zeros(labels, states.shape[1], device=states.device).index_add(0, number, centred)
    means = means / (counts[:, None] + 1)
    typical = means.square().sum(1).mean().sqrt() * centred.norm(dim=1).mean()
    return means * (FIRST_LOGIT / typical.clamp_min(1e-6))
