"""GGUF to a folder of config.json, tokenizer.json and model.safetensors: once, in a process of its own.

transformers reads the GGUF and undoes its quantization; the weights are then stored as bfloat16. A quantized weight is
scale times a small whole number (Q4_1: plus an offset) with 16-bit scales; rounding the product to bfloat16's 8 bits of
mantissa changes it by at most 0.4 %, far below the step between two quantized values.

Run as `python -m insource.engines.models_convert GGUF FOLDER`: it writes "step DONE of STEPS" lines and ends with 0.
A process of its own keeps the library's progress bars, warnings and memory out of ours, and can be ended at any time.
"""

import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from insource.engines.sources import Progress
from insource.errors import EngineError, Invalid, StoreError
from insource.settings import inherited_environment

CONVERTER = 1
STEPS = 4
NEEDED = ("torch", "transformers", "accelerate", "gguf", "safetensors")


def convert(gguf: Path, folder: Path, progress: Progress) -> None:
    """Converts `gguf` into `folder`, which must exist; `progress` hears of the steps.

    Raises `EngineError` without the libraries, `Invalid` when they cannot read this model, `StoreError` on a full disk.
    """
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        words = f"converting a base model needs {', '.join(absent)}"
        raise EngineError(words, hint="pip install 'insource[train]'")
    what = f"convert {gguf.name}, once"
    progress(what, 0, STEPS)
    command = [sys.executable, "-P", "-m", "insource.engines.models_convert", str(gguf), str(folder)]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(  # noqa: S603 - our own module, two paths
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, env=_environment()
        ) as child,
    ):
        try:
            for line in child.stdout or ():
                if found := re.fullmatch(rf"step (\d+) of {STEPS}\s*", line):
                    progress(what, int(found[1]), STEPS)
            child.wait()
        finally:
            child.kill()
        complaints.seek(0)
        if child.returncode != 0:
            raise _fault(gguf, child.returncode, complaints.read())


def _environment() -> dict[str, str]:
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return inherited_environment() | quiet | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def _fault(gguf: Path, status: int, complaints: str) -> EngineError | Invalid | StoreError:
    last = next((line for line in reversed(complaints.splitlines()) if line.strip()), f"it ended with {status}")
    if "No space left" in complaints:
        return StoreError(f"the disk is full: {gguf.name} could not be converted", hint="free some space, then again")
    if status < 0:
        return EngineError(f"converting {gguf.name} was stopped (signal {-status})", hint="is there enough memory?")
    return Invalid(f"transformers cannot read {gguf.name}: {last}", hint="its architecture may not be supported yet")


def write_folder(gguf: Path, folder: Path) -> None:
    """The conversion itself, in this process. Needs the `train` extra."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **options)
    tokenizer.save_pretrained(folder)
    _step(1)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **options)
    _step(2)
    config = model.config
    # save_pretrained refuses models that came from GGUF while this is set
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.bfloat16
    config.save_pretrained(folder)
    tied = {"lm_head.weight"} if getattr(config, "tie_word_embeddings", False) else set()
    state = {
        name: value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items() if name not in tied
    }
    _step(3)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    _step(4)


def _step(done: int) -> None:
    sys.stdout.write(f"step {done} of {STEPS}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    write_folder(Path(sys.argv[1]), Path(sys.argv[2]))
