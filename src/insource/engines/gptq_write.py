"""A folder of safetensors with its linear layers in 4 bits, in GPTQ's layout, which vLLM reads on GPUs and CPUs.

AutoRound (Cheng et al. 2023, arXiv:2309.05516) chooses the scales by how much each input of a layer counts on texts as
the model will see them. Embeddings and the vocabulary head stay in 16 bits.
"""

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insource.engines.readout import load_causal
from insource.errors import EngineDown, Invalid

GROUPS = (128, 64, 32)
SAMPLES = 128
ITERATIONS = 0  # of tuning how each weight is rounded; 50 take over twice as long on a CPU (docs/decisions/0102)
LONGEST = 512
COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def write_gptq(folder: Path, out: Path, prompts: Sequence[str]) -> None:
    """Writes the model in `folder` to the folder `out`, its scales chosen on `prompts`, whole as they are read.

    Raises `Invalid` without prompts, or for a model whose layers have no whole groups, `EngineDown` without AutoRound,
    OSError.
    """
    try:
        from auto_round import AutoRound
    except ModuleNotFoundError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[gptq]'") from error
    for name in ("autoround", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import torch
    from transformers import AutoTokenizer

    config = json.loads((folder / "config.json").read_text("utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    rows = samples([tokenizer(prompt)["input_ids"] for prompt in prompts])
    if not rows:
        raise Invalid("there are no train rows to calibrate 4 bits on", hint="insource collect TASK FILE")
    model = load_causal(folder, device="cpu", dtype=torch.bfloat16)
    end = config["eos_token_id"]
    end = end[0] if isinstance(end, list) else end
    # the last token of a sample is not judged, and the one before it is where the answer is read
    data = [torch.tensor([[*row, end]]) for row in rows]
    rounder = AutoRound(
        model, tokenizer, bits=4, group_size=group_of(model), sym=True, dataset=data, seqlen=len(data[0][0]),
        nsamples=len(data), iters=ITERATIONS, device_map="cuda" if torch.cuda.is_available() else "cpu",
        enable_torch_compile=False, seed=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=out) as between:
        rounder.quantize_and_save(output_dir=between, format="auto_gptq")
        written = next(Path(between).rglob("config.json")).parent
        for path in [*written.glob("*.safetensors"), *written.glob("*.index.json"), written / "config.json"]:
            path.rename(out / path.name)
    for name in COMPANIONS:
        if (folder / name).is_file():
            (out / name).write_bytes((folder / name).read_bytes())


def samples(rows: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Up to `SAMPLES` rows of one length: the ends of those that are long enough, which three in four are. Pure."""
    if not rows:
        return []
    length = min(LONGEST, sorted(len(row) for row in rows)[len(rows) // 4])
    fitting = [row[len(row) - length :] for row in rows if len(row) >= length]
    step = max(1, len(fitting) // SAMPLES)
    return fitting[::step][:SAMPLES]


def group_of(model: Any) -> int:
    """How many weights share a scale: the most that divides the inputs of every layer. Raises `Invalid`."""
    import torch

    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    widths = {layer.in_features for layer in layers}
    for size in GROUPS:
        if all(width % size == 0 for width in widths):
            return size
    raise Invalid(f"layers of {', '.join(map(str, sorted(widths)))} inputs have no whole groups of {GROUPS[-1]}",
                  hint="--format hf keeps 16 bits")  # fmt: skip
