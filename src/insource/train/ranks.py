"""The processes that train together, each a *rank*: the same model and steps, and a share of every batch.

What they compute is added up by torch's own engine (torch.distributed; Li et al. 2020, arXiv:2006.15704): NCCL between
GPUs, Gloo between processes on a CPU. A share's loss is a part of the whole batch's (`Model.loss`), so a sum over ranks
is the batch's gradient however uneven the shares are, and one rank or several differ by rounding only.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
import torch.distributed

from insource.engines.readout import pick_device
from insource.errors import Invalid
from insource.nouns import Noun
from insource.train.recipe import Recipe

T = TypeVar("T")


class Parted(Exception):
    """Another rank is gone, or did not come in time: this one cannot go on."""


class Ranks(Noun, frozen=True, kw_only=True):
    """Rank `number` of `count`, from 0. One alone asks nobody: every sum is its own."""

    number: int = 0
    count: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether it is the one that speaks and writes."""
        return self.number == 0

    def share(self, rows: Sequence[T]) -> Sequence[T]:
        """Its part of the rows: none for some where there are fewer rows than ranks."""
        return rows if self.alone else even(rows, self.count)[self.number]

    def add(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Each float32 tensor summed over the ranks: the same on all of them, to the last bit. Raises `Parted`."""
        if self.alone:
            return tensors
        device = tensors[-1].device
        flat = torch.cat([tensor.to(device).reshape(-1) for tensor in tensors])
        self._all(torch.distributed.all_reduce, flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def total(self, numbers: Sequence[float], device: Any) -> Sequence[float]:
        """Each number summed over the ranks, the same on all of them. Raises `Parted`."""
        if self.alone:
            return numbers
        summed = torch.tensor(list(numbers), dtype=torch.float64, device=device)
        self._all(torch.distributed.all_reduce, summed)
        return [float(one) for one in summed]

    def meet(self, device: Any) -> None:
        """Waits until all ranks are here. Raises `Parted`."""
        self.total([0.0], device)

    def begin(self, step: int, tensors: Sequence[Any]) -> None:
        """Gives every rank the first one's tensors, in place. Raises `Parted`, also when not all are at this step."""
        if self.alone:
            return
        if self.total([step], tensors[0].device) != [step * self.count]:
            raise Parted(f"rank {self.number} goes on from step {step}, another from elsewhere")
        for tensor in tensors:
            self._all(torch.distributed.broadcast, tensor.detach(), 0)

    def _all(self, collective: Any, *what: Any) -> None:
        try:
            collective(*what)
        except RuntimeError as error:
            raise Parted(str(error)) from error


ALONE = Ranks()


def even(rows: Sequence[T], count: int) -> list[Sequence[T]]:
    """The rows in `count` parts, in order, of lengths that differ by one at most."""
    cuts = [round(len(rows) * i / count) for i in range(count + 1)]
    return [rows[low:high] for low, high in itertools.pairwise(cuts)]


def counted(recipe: Recipe) -> Recipe:
    """The recipe with its `devices` counted: 0 are all GPUs of this machine. Raises `Invalid` for more than it has."""
    gpus = torch.cuda.device_count() if pick_device() == "cuda" else 0
    if gpus and recipe.devices > gpus:
        raise Invalid(
            f"devices is {recipe.devices}, and this machine has {gpus} GPUs", hint="devices = 0 takes them all"
        )
    return msgspec.structs.replace(recipe, devices=recipe.devices or max(1, gpus))


@contextmanager
def joined(ranks: Ranks, meeting: Path, patience_s: float) -> Iterator[Ranks]:
    """Makes this process one of the ranks that meet at the file `meeting`, where no others have met before.

    A rank that waits for another for more than `patience_s` gives up. Raises `Parted`.
    """
    cuda = pick_device() == "cuda"
    if cuda:
        torch.cuda.set_device(ranks.number)
    store = torch.distributed.FileStore(str(meeting), ranks.count)
    try:
        torch.distributed.init_process_group(
            "nccl" if cuda else "gloo", store=store, rank=ranks.number, world_size=ranks.count,
            timeout=timedelta(seconds=patience_s), device_id=torch.device("cuda", ranks.number) if cuda else None,
        )  # fmt: skip
    except RuntimeError as error:
        raise Parted(str(error)) from error
    yield ranks
    torch.distributed.destroy_process_group()
