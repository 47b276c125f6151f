"""What weights, keys and values take of memory, measured from outside a process that does nothing else.

llama.cpp: weights are the anonymous memory with the file read in, less that with the file mapped. Keys and values are
that with them in 32 bits, less that with them in 16: half of what was added, and so all that 16 bits take. Nothing else
differs between the two of a pair. torch: the bytes of the tensors themselves, and the resident memory beside them.

As a program: sizing_memory.py llamacpp FILE CONTEXT f16|f32 mapped|read|packed, or torch FOLDER CONTEXT…
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

BATCH = 512  # tokens that llama.cpp reads in one step, as it has it itself
WIDE = ("token_embd.weight", "output.weight")
Found = dict[str, Any]


def measured(*words: str) -> Found:
    """What a fresh process of this program finds."""
    command = [sys.executable, "-W", "ignore", __file__, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def llamacpp_weights(path: Path) -> Found:
    """Bytes of a GGUF file's weights in llama.cpp, as they stand there and as it packs them anew for this processor."""
    mapped, read, packed = (measured("llamacpp", str(path), "512", "f16", how) for how in ("mapped", "read", "packed"))
    return {"weights": read["anonymous"] - mapped["anonymous"], "packed": packed["anonymous"] - mapped["anonymous"],
            "tensors": tensors(path)}  # fmt: skip


def llamacpp_cache(path: Path, context: int) -> int:
    """Bytes of keys and values of one text of `context` tokens in llama.cpp, in 16 bits."""
    half, whole = (measured("llamacpp", str(path), str(context), kind, "mapped") for kind in ("f16", "f32"))
    return int(whole["anonymous"] - half["anonymous"])


def tensors(path: Path) -> int:
    """Bytes of all tensors of a GGUF file, as the file says."""
    import gguf

    return sum(int(one.n_bytes) for one in gguf.GGUFReader(path).tensors)


def rewritten(source: Path, out: Path, kind: str) -> Path:
    """The GGUF file with its matrices as `kind` (Q8_0, Q4_0, F16), written to `out`; tables in 8 bits at least."""
    import gguf

    reader = gguf.GGUFReader(source)
    said = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    writer = gguf.GGUFWriter(out, said.pop("general.architecture").contents())
    for name, field in said.items():
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for one in reader.tensors:
        values = gguf.quants.dequantize(one.data, one.tensor_type)
        if values.ndim == 1:
            writer.add_tensor(one.name, values)
            continue
        wanted = gguf.GGMLQuantizationType["Q8_0" if one.name in WIDE and kind == "Q4_0" else kind]
        writer.add_tensor(one.name, gguf.quants.quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def anonymous() -> int:
    """Bytes of this process's memory that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def _llamacpp(path: str, context: str, kind: str, how: str) -> NoReturn:
    import xllamacpp

    mode = xllamacpp.llama_load_mode
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx = 1, int(context)
    params.n_batch = params.n_ubatch = BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.offline, params.ui, params.warmup, params.fit_params = True, False, False, False
    params.cache_ram_mib, params.verbosity = 0, -1
    params.load_mode = mode.LLAMA_LOAD_MODE_MMAP if how == "mapped" else mode.LLAMA_LOAD_MODE_NONE
    params.no_extra_bufts = how != "packed"
    params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{kind.upper()}")
    before = anonymous()
    with tempfile.TemporaryDirectory() as folder:
        params.hostnames = [f"{folder}/llamacpp.sock"]
        server = xllamacpp.Server(params)
        print(json.dumps({"anonymous": anonymous() - before}), flush=True)
        os._exit(0 if server else 1)  # a server that is told to end while it begins may wait for itself


def _torch(folder: str, *contexts: str) -> Found:
    """Of the model in 16 bits: bytes of its weights, and for each context of the keys and values, tensors and all."""
    import torch
    import transformers

    torch.set_num_threads(1)
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    tiny = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, hidden_size=64, intermediate_size=64, vocab_size=2000
    )
    how = {"dtype": torch.bfloat16, "attn_implementation": "sdpa"}
    warm = transformers.AutoModelForCausalLM.from_config(tiny, **how).eval()
    with torch.inference_mode():  # the code itself, and what the first products take for good
        warm(input_ids=torch.randint(10, 1000, (1, BATCH)), past_key_values=transformers.DynamicCache(config=tiny))
    del warm
    start = _settled()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **how).eval()
    for value in model.parameters():
        value.data = value.data.clone()  # off the mapped file, so that every byte is counted once
    loaded = _settled()
    return {"weights": sum(value.nbytes for value in model.parameters()), "resident": loaded - start,
            "cache": {context: _filled(model, config, int(context)) for context in contexts}}  # fmt: skip


def _filled(model: Any, config: Any, context: int) -> Found:
    import torch
    import transformers

    before = _settled()
    kept = transformers.DynamicCache(config=config)
    with torch.inference_mode():
        for at in range(0, context, BATCH):
            ids = torch.randint(10, 1000, (1, min(BATCH, context - at)))
            model.model(input_ids=ids, past_key_values=kept, use_cache=True)
    return {"tensors": sum(layer.keys.nbytes + layer.values.nbytes for layer in kept.layers),
            "resident": _settled() - before}  # fmt: skip


def _settled() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return anonymous()


if __name__ == "__main__":
    if sys.argv[1] == "llamacpp":
        _llamacpp(*sys.argv[2:])
    print(json.dumps(_torch(*sys.argv[2:])))
