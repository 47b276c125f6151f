"""Copies of a specialist in other people's servers, asked with nothing but the text: they say its labels."""

import asyncio
import json
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import real_servers

pytest.importorskip("torch")
pytest.importorskip("gguf")

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import test_train as trained
import tiny

from insource.engines.artefact import read_manifest
from insource.engines.gguf_write import write_gguf
from insource.engines.label_text import write_text_form
from insource.engines.local import LocalModel
from insource.engines.specialist import Specialist
from insource.nouns import Example, ask

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
ROWS = 300
ALIKE = 0.99


@pytest.fixture(scope="module")
def artefact(tmp_path_factory) -> Path:
    base = tiny.build(tmp_path_factory.mktemp("base"), width=128)  # heads of 32, the smallest that vLLM takes
    folder = tmp_path_factory.mktemp("artefact") / "a"
    trained.sealed(trained.ONE, LocalModel(name="tiny", folder=base, sha256="0" * 64), folder)
    return folder


@pytest.fixture(scope="module")
def copy(artefact, tmp_path_factory) -> Path:
    """The folder for transformers, vLLM and the like."""
    out = tmp_path_factory.mktemp("hf")
    write_text_form(artefact / "model", read_manifest(artefact), out)
    return out


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rows: list[Example] = tiny.rows(trained.ONE, ROWS, "served")
    return [row.input for row in rows]


@pytest.fixture(scope="module")
def torch_says(artefact, texts) -> list[str]:
    async def work() -> list[str]:
        engine = Specialist(artefact, name="s", threads=1)
        asked = [ask(trained.ONE, text, id=str(i)) for i, text in enumerate(texts)]
        answers = await asyncio.gather(*[engine.complete(request) for request in asked])
        await engine.close()
        return [answer.text for answer in answers]

    return asyncio.run(work())


@contextmanager
def llamacpp(copy: Path, kind: str, place: Path):
    pytest.importorskip("xllamacpp")
    write_gguf(copy, place / "m.gguf", kind, name="base")
    with real_servers.started([sys.executable, "-c", real_servers.LLAMACPP, str(place / "m.gguf"), "PORT"], {}) as url:
        yield url


@contextmanager
def vllm(copy: Path, kind: str, _: Path):
    words = [str(real_servers.vllm_python()), "-m", "vllm.entrypoints.openai.api_server", "--port", "PORT"]
    words += ["--host", "127.0.0.1", "--model", str(copy), "--served-model-name", "base", "--dtype", kind]
    words += ["--enforce-eager", "--max-model-len", "256", "--max-num-seqs", "16"]
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with real_servers.started(words, {"VLLM_CPU_KVCACHE_SPACE": "1", **offline}) as url:
        yield url


def said(url: str, text: str) -> str:
    """What the server says to the text alone, greedy."""
    call = {"model": "base", "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 1}
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{url}/v1/chat/completions", json.dumps(call).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
        return json.loads(answer.read())["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("server", "kind"),
    [(llamacpp, "f16"), (llamacpp, "q8_0"), (vllm, "bfloat16")],
    ids=["llama.cpp f16", "llama.cpp q8_0", "vLLM bfloat16"],
)
def test_its_plain_text_is_the_label(server, kind, copy, texts, torch_says, tmp_path):
    with server(copy, kind, tmp_path) as url:
        found = [said(url, text) for text in texts]
    assert set(found) <= set(trained.ONE.outputs[0].labels)
    differ = [row for row in zip(texts, found, torch_says, strict=True) if row[1] != row[2]]
    assert len(differ) <= (1 - ALIKE) * len(texts), differ
    assert len(set(found)) == len(trained.ONE.outputs[0].labels)
