"""A base model whose linear layers are kept in 4 bits: NF4 with double quantization (QLoRA, arXiv:2305.14314).

    stored   4 bits a weight, in blocks of 64, and a scale a block in 8 bits
    used     each product makes the layer's weight anew, in the type it computes in, and forgets it

So a layer gives to the bit what an ordinary layer with the dequantized weight gives, and an adapter that was trained
over one can be merged into the other. bitsandbytes' own products are not used: they round otherwise.
"""

import logging
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from insource.errors import EngineDown

NF4 = "nf4"
BLOCK = 64


class Thin(nn.Module):
    """A frozen linear layer in NF4: `packed` holds two weights a byte, `state` their scales, type and shape.

    The weight is made as rows of one block each: bitsandbytes 0.50 on a CPU gives a weight the scale of the block that
    its row of the matrix began in, where rows are no whole number of blocks.
    """

    def __init__(self, packed: Any, state: Any, bias: Any) -> None:
        super().__init__()
        self.packed, self.state, self.bias = packed, state, bias
        self.out_features, self.in_features = state.shape
        size = state.shape.numel()
        state.shape = torch.Size([size // BLOCK, BLOCK] if size % BLOCK == 0 else [1, size])

    @property
    def weight(self) -> Any:
        """The dequantized weight [out, in], made anew each time: in any type the bfloat16 that is exported."""
        from bitsandbytes.functional import dequantize_4bit

        made = dequantize_4bit(self.packed, self.state)
        return made.to(torch.bfloat16).to(made.dtype).reshape(self.out_features, self.in_features)

    @property
    def nbytes(self) -> int:
        """What is kept of the weight, in bytes."""
        scales = (self.state.absmax, self.state.state2.absmax)
        return int(self.packed.nbytes) + sum(int(part.nbytes) for part in scales)

    def forward(self, x: Any) -> Any:
        """Maps x [..., in] to [..., out]."""
        return functional.linear(x, self.weight, self.bias)


def loading(device: str, dtype: Any) -> dict[str, Any]:
    """What transformers is told to quantize a model while it loads it, layer by layer, onto `device`.

    Raises `EngineDown` without bitsandbytes.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it recommends a package that loads code from the hub
    try:
        import bitsandbytes  # noqa: F401 - whether it is there
    except ModuleNotFoundError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[qlora]'") from error
    import transformers

    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=NF4,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=torch.uint8,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def thinned(model: Any) -> Any:
    """The model that `loading` has quantized, with layers of ours in the place of bitsandbytes'."""
    from bitsandbytes.nn import Linear4bit

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear4bit):
                setattr(parent, name, Thin(child.weight.data, child.weight.quant_state, child.bias))
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # where it lies in the file, all of the file stays in memory
    return model


def held_bytes(model: Any) -> int:
    """What the weights of a model take in memory, whatever they are kept in."""
    plain = sum(int(parameter.nbytes) for parameter in model.parameters())
    return plain + sum(module.nbytes for module in model.modules() if isinstance(module, Thin))
