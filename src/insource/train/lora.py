"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) on every linear layer, and their way out to disk.

Each layer runs on its merged weight W + (alpha/r)·B·A, rebuilt once a step: one product instead of three, and what is
trained is exactly what is exported, rounding to bfloat16 included, also where products are of float32. The factors are
kept in float32, so an update that the rounding hides for a while still adds up. Over a base kept in 4 bits (QLoRA) no
merged weight stays in memory: it is made for each product, the same one.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from insource.engines.nf4 import Thin
from insource.errors import Invalid


class _Merged(torch.autograd.Function):
    """y = x·(W + s·B·A)ᵀ given what gives the merged weight; gradients for x, A and B only."""

    @staticmethod
    def forward(ctx: Any, x: Any, a: Any, b: Any, merged: Callable[[], Any], scale: float) -> Any:
        ctx.save_for_backward(x, a, b)
        ctx.merged, ctx.scale = merged, scale
        return functional.linear(x, merged())

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, a, b = ctx.saved_tensors
        flat, rows = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        for_a = ((flat @ b.to(flat.dtype)).T @ rows).float() * ctx.scale
        for_b = ((rows @ a.to(rows.dtype).T).T @ flat).T.float() * ctx.scale
        return grad @ ctx.merged() if ctx.needs_input_grad[0] else None, for_a, for_b, None, None


class Adapted(nn.Module):
    """A frozen linear layer with a low-rank update of rank r, scaled by alpha/r (alpha = 2r)."""

    def __init__(self, base: nn.Linear | Thin, rank: int) -> None:
        super().__init__()
        self.base, self.rank, self.scale = base, rank, 2.0
        self.device = base.weight.device
        self._kept = None if isinstance(base, Thin) else torch.empty_like(base.weight)
        self.begin(torch.Generator())

    def begin(self, generator: torch.Generator) -> None:
        """Puts the factors where training begins: a [rank, in] drawn, b [out, rank] zero."""
        size = self.base.in_features
        a = torch.randn(self.rank, size, generator=generator) / math.sqrt(size)
        self.take(a.to(self.device), torch.zeros(self.base.out_features, self.rank, device=self.device))

    def take(self, a: Any, b: Any) -> None:
        """Sets the factors to copies of these, of any rank."""
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())

    @property
    def bias(self) -> Any:
        """The base layer's own, which is not trained."""
        return self.base.bias

    def refresh(self) -> None:
        """Rebuilds the merged weight from the present factors, where it is kept."""
        if self._kept is not None:
            self._merge(self._kept)

    def merged(self) -> Any:
        """The merged weight [out, in], as of the last `refresh`."""
        return self._merge(None) if self._kept is None else self._kept

    def forward(self, x: Any) -> Any:
        """Maps x [..., in] to [..., out]."""
        y = _Merged.apply(x, self.a, self.b, self.merged, self.scale)
        return y if self.bias is None else y + self.bias

    def _merge(self, out: Any) -> Any:
        weight = self.base.weight
        a, b = self.a.detach().to(weight.dtype), self.b.detach().to(weight.dtype)
        whole = torch.addmm(weight, b, a, alpha=self.scale, out=out)
        return whole if whole.dtype == torch.bfloat16 else whole.copy_(whole.to(torch.bfloat16))


def as_exported(body: Any) -> None:
    """Rounds weights of float32 to the bfloat16 that is exported, so that nothing else is trained and calibrated."""
    with torch.no_grad():
        for weight in body.parameters():
            if weight.dtype == torch.float32:
                weight.copy_(weight.to(torch.bfloat16))


def adapt(body: Any, rank: int, layers: int) -> list[Adapted]:
    """Puts an adapter on every linear layer of the top `layers` blocks (0 = all)."""
    blocks = _blocks(body)
    chosen = blocks[len(blocks) - layers :] if layers else blocks
    made = []
    for block in chosen:
        for parent, name, linear in list(_linears(block)):
            adapted = Adapted(linear, rank)
            setattr(parent, name, adapted)
            made.append(adapted)
    return made


def _blocks(body: Any) -> list[Any]:
    for owner in (body, getattr(body, "model", None), getattr(body, "language_model", None)):
        if owner is not None and hasattr(owner, "layers"):
            return list(owner.layers)
    raise Invalid(f"{type(body).__name__} has no list of layers to adapt", hint="use a Llama, Gemma, Qwen or Phi model")


def _linears(block: Any) -> Iterator[tuple[Any, str, nn.Linear | Thin]]:
    for parent in block.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear | Thin):
                yield parent, name, child


def save_adapter(body: Any, base: str, folder: Path) -> None:
    """Writes the factors in PEFT's format (adapter_config.json, adapter_model.safetensors)."""
    from safetensors.torch import save_file

    from insource.nouns import to_json

    folder.mkdir(parents=True, exist_ok=True)
    tensors, targets, rank = {}, set(), 0
    for name, module in body.named_modules():
        if isinstance(module, Adapted):
            path = f"base_model.model.model.{name}"
            tensors[f"{path}.lora_A.weight"] = module.a.detach().cpu().contiguous()
            tensors[f"{path}.lora_B.weight"] = module.b.detach().cpu().contiguous()
            rank = len(module.a)
            targets.add(name.rpartition(".")[2])
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(targets),
        "inference_mode": True,
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_bytes(to_json(config))


def merged_state(body: Any) -> Iterator[tuple[str, Any]]:
    """The body's weights with every adapter merged in, in bfloat16, named as in a causal language model.

    One by one, so that no more than one of those that are not kept is in memory.
    """
    made = {name: module for name, module in body.named_modules() if isinstance(module, Adapted | Thin)}
    inside = tuple(f"{name}." for name in made)
    for name, tensor in body.state_dict().items():
        if not name.startswith(inside):
            yield _named(name, tensor)
    for name, module in made.items():
        if name.rpartition(".")[0] not in made:  # what lies in an adapter is part of it
            yield _named(f"{name}.weight", module.merged() if isinstance(module, Adapted) else module.weight)
            if module.bias is not None:
                yield _named(f"{name}.bias", module.bias)


def _named(name: str, tensor: Any) -> tuple[str, Any]:
    return f"model.{name}", tensor.detach().to(torch.bfloat16).cpu().contiguous()
