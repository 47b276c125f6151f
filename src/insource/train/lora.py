"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) on every linear layer, and their way out to disk.

Each layer runs on its merged weight W + (alpha/r)·B·A, rebuilt once a step: one product instead of three, and what is
trained is exactly what is exported, rounding to bfloat16 included. The factors are kept in float32, so an update that
the rounding hides for a while still adds up.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from insource.errors import Invalid


class _Merged(torch.autograd.Function):
    """y = x·(W + s·B·A)ᵀ given the merged weight; gradients for x, A and B only."""

    @staticmethod
    def forward(ctx: Any, x: Any, a: Any, b: Any, merged: Any, scale: float) -> Any:
        ctx.save_for_backward(x, a, b, merged)
        ctx.scale = scale
        return functional.linear(x, merged)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, a, b, merged = ctx.saved_tensors
        flat, rows = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        for_a = ((flat @ b.to(flat.dtype)).T @ rows).float() * ctx.scale
        for_b = ((rows @ a.to(rows.dtype).T).T @ flat).T.float() * ctx.scale
        return grad @ merged if ctx.needs_input_grad[0] else None, for_a, for_b, None, None


class Adapted(nn.Module):
    """A frozen linear layer with a low-rank update of rank r, scaled by alpha/r (alpha = 2r)."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base, self.rank, self.scale = base, rank, 2.0
        self.begin(torch.Generator())
        self.merged = torch.empty_like(base.weight)

    def begin(self, generator: torch.Generator) -> None:
        """Puts the factors where training begins: a [rank, in] drawn, b [out, rank] zero."""
        size, device = self.base.in_features, self.base.weight.device
        a = torch.randn(self.rank, size, generator=generator) / math.sqrt(size)
        self.take(a.to(device), torch.zeros(self.base.out_features, self.rank, device=device))

    def take(self, a: Any, b: Any) -> None:
        """Sets the factors to copies of these, of any rank."""
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())

    def refresh(self) -> None:
        """Rebuilds the merged weight from the present factors."""
        weight = self.base.weight
        a, b = self.a.detach().to(weight.dtype), self.b.detach().to(weight.dtype)
        torch.addmm(weight, b, a, alpha=self.scale, out=self.merged)

    def forward(self, x: Any) -> Any:
        """Maps x [..., in] to [..., out]."""
        y = _Merged.apply(x, self.a, self.b, self.merged, self.scale)
        return y if self.base.bias is None else y + self.base.bias


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


def _linears(block: Any) -> Iterator[tuple[Any, str, nn.Linear]]:
    for parent in block.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
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


def merged_state(body: Any) -> dict[str, Any]:
    """The body's weights with every adapter merged in, in bfloat16, named as in a causal language model."""
    state = {}
    adapted = {name: module for name, module in body.named_modules() if isinstance(module, Adapted)}
    for name, tensor in body.state_dict().items():
        parent = name.rpartition(".")[0]
        owner, _, leaf = parent.rpartition(".")
        if name.rpartition(".")[0] in adapted:  # a factor
            continue
        if leaf == "base" and owner in adapted:
            kind = name.rpartition(".")[2]
            module = adapted[owner]
            if kind == "weight":
                tensor = module.merged
            name = f"{owner}.{kind}"
        state[f"model.{name}"] = tensor.to(torch.bfloat16).cpu().contiguous()
    return state
