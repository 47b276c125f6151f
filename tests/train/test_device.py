"""Where a run computes: what belongs to it lies there."""

import torch

from insource.train import checkpoint
from insource.train.loop import _resume


def test_what_a_checkpoint_held_goes_back_to_where_the_weights_are(tmp_path):
    """On a GPU all of it must be there, the count of steps too. The device "meta" stands for one here."""
    held = {name: torch.zeros(3) for name in ("p0", "m0", "v0", "b0")} | {"s0": torch.ones(1)}
    checkpoint.save(tmp_path / "c.safetensors", checkpoint.Standing(run="r", step=1), held)
    parameter = torch.nn.Parameter(torch.zeros(3, device="meta"))
    optimizer = torch.optim.AdamW([parameter])
    standing, best = _resume(tmp_path / "c.safetensors", "r", optimizer, [parameter])
    assert standing.step == 1
    assert {one.device.type for one in (*optimizer.state[parameter].values(), *best)} == {"meta"}
