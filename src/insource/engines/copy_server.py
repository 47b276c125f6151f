"""A copied release behind the server it was copied for.

    python -P -m insource.engines.copy_server KIND FOLDER PORT THREADS [PYTHON]

transformers   greedy, in batches, the text form of `engines.label_text`; a small server of our own around it
llamacpp       llama.cpp's server, from xllamacpp, with the one GGUF file of the folder
vllm           vLLM's server, of the interpreter PYTHON: its versions are not ours

All speak the OpenAI chat API, say at /health that they are well, and end when standard input does: a server does not
outlive who started it.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from insource.engines.artefact import read_manifest
from insource.engines.batcher import Batcher
from insource.engines.readout import by_length, load_causal, pad, pick_device, pick_dtype
from insource.nouns import Message, Prediction, Request, from_json, to_json
from insource.nouns.request import text_of
from insource.settings import inherited_environment

MODEL = "copy"
WINDOW, AT_ONCE = 2048, 4
Read = Callable[[Sequence[str]], list[str]]


def reading(folder: Path, threads: int) -> Read:
    """What reads texts as transformers does, greedily: of several outputs each is held to its own labels' tokens."""
    import torch
    from transformers import AutoTokenizer

    from insource.engines.base_model_net import VocabularyHead

    device = pick_device()
    model = load_causal(folder, device=device, dtype=pick_dtype(device), threads=threads)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    head = VocabularyHead(model, exact=device == "cpu")
    outputs = [torch.tensor(one.tokens) for one in read_manifest(folder).heads]
    held = len(outputs) > 1

    def read(texts: Sequence[str]) -> list[str]:
        turns = [[{"role": "user", "content": text}] for text in texts]
        rows = [list(tokenizer.apply_chat_template(turn, return_dict=True)["input_ids"]) for turn in turns]
        begun = [len(row) for row in rows]
        with torch.inference_mode():
            for tokens in outputs:
                for batch in by_length([len(row) for row in rows]):
                    ids, lengths = pad([rows[i] for i in batch], 0, device)
                    hidden = model.base_model(input_ids=ids).last_hidden_state
                    logits = head(hidden[torch.arange(len(batch)), lengths - 1]).cpu()
                    best = tokens[logits[:, tokens].argmax(1)] if held else logits.argmax(1)
                    for i, token in zip(batch, best.tolist(), strict=True):
                        rows[i].append(token)
        return [tokenizer.decode(row[start:]) for row, start in zip(rows, begun, strict=True)]

    return read


def transformers(folder: Path, port: int, threads: int) -> None:
    """Serves `reading` until stdin ends."""
    read = reading(folder, threads)

    def run(requests: list[Request]) -> list[Prediction | Exception]:
        return [Prediction(text=said, engine=MODEL) for said in read([request.input for request in requests])]

    asyncio.run(_serve(Batcher(run), port))


async def _serve(batcher: Batcher, port: int) -> None:
    from aiohttp import web

    async def chat(request: web.Request) -> web.Response:
        body = from_json(await request.read(), dict)
        said = Message(role="user", content=text_of(body["messages"][-1]["content"]))
        answer = await batcher.submit(Request(id="copy", messages=(said,)))
        message = {"role": "assistant", "content": answer.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.Response(body=to_json({"model": MODEL, "choices": [choice]}), content_type="application/json")

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", chat), web.get("/health", health)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.to_thread(sys.stdin.buffer.read)
    await runner.cleanup()
    await batcher.close()


def llamacpp(folder: Path, port: int, threads: int) -> None:
    """llama.cpp's own server with the GGUF file in `folder`, four calls at a time."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.port = str(next(folder.glob("*.gguf"))), port
    params.n_parallel, params.n_ctx = AT_ONCE, AT_ONCE * WINDOW
    if threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    sys.stdin.buffer.read()
    del server


def vllm(folder: Path, port: int, threads: int, python: str) -> None:
    """The server of vLLM in processes of its own, which end with this one's stdin."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    window = min(WINDOW, config.get("max_position_embeddings") or WINDOW)
    words = [python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--model", str(folder), "--served-model-name", MODEL, "--max-model-len", str(window)]
    words += ["--enforce-eager", "--dtype", "bfloat16"] if pick_device() == "cpu" else []
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    quiet |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    child = subprocess.Popen(words, env=inherited_environment() | quiet, stdin=subprocess.DEVNULL)  # noqa: S603 - ours
    threading.Thread(target=_ended_with, args=(child,), daemon=True).start()
    sys.stdin.buffer.read()
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(20)


def _ended_with(child: "subprocess.Popen[bytes]") -> None:
    """Whoever waits for the server to be well waits for this process."""
    os._exit(child.wait() or 1)


SERVERS: dict[str, Callable[..., None]] = {"transformers": transformers, "llamacpp": llamacpp, "vllm": vllm}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
