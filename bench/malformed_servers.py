"""The engines of bench/malformed.py: weights that know nothing, and the servers that serve them."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import engine_peers
from insource.engines.gguf_write import write_gguf
from insource.engines.local import LocalModel
from insource.engines.openvino_graph import convert_writer
from insource.settings import inherited_environment

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "max_position_embeddings": 2048}  # fmt: skip


def untrained(base: LocalModel, folder: Path) -> LocalModel:
    """A small Llama with random weights (seed 0) under the tokenizer and template of `base`, written to `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER:
        shutil.copy(base.folder / name, folder / name)
    known = json.loads((base.folder / "config.json").read_text("utf-8"))
    same = {key: known[key] for key in ("vocab_size", "bos_token_id", "eos_token_id")}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE, **same, tie_word_embeddings=True)).save_pretrained(folder)
    return LocalModel(name="untrained", folder=folder, sha256="")


def made_over(model: LocalModel, folder: Path) -> LocalModel:
    """The same for OpenVINO, in `folder`."""
    convert_writer(model.folder, folder)
    for name in ("config.json", *TOKENIZER):
        shutil.copy(model.folder / name, folder / name)
    return LocalModel(name=model.name, folder=folder, sha256="")


@contextmanager
def llamacpp(model: LocalModel) -> Iterator[str]:
    """The address of llama.cpp's server with `model`, in this process."""
    import xllamacpp

    file = model.folder / "model.gguf"
    write_gguf(model.folder, file, "f16", name=model.name)
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_parallel, params.n_ctx = 8, 8 * 2048
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


@contextmanager
def vllm(model: LocalModel, python: Path) -> Iterator[str]:
    """The address of vLLM with `model` as "base", from the environment that `python` belongs to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model.folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "base", "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "64"]
    # on a CPU vLLM 0.32 ends when it reads the prompt of a call with a seed in parts (Generator.set_offset)
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"]
    command += ["--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}']
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (model.folder / "vllm.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=inherited_environment() | offline)
        try:
            engine_peers.wait_for(f"http://127.0.0.1:{port}/health", server, model.folder / "vllm.log")
            yield f"http://127.0.0.1:{port}/v1"
            if server.poll() is not None:
                sys.exit(f"vLLM ended:\n{(model.folder / 'vllm.log').read_text('utf-8', 'replace')[-2_000:]}")
        finally:
            server.terminate()
            server.wait(60)
