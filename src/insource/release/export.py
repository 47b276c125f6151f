"""A release as a folder that other engines read, and the manifest that says which token each label is."""

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from insource.engines.artefact import MANIFEST, file_digests, read_manifest, write_manifest
from insource.engines.gguf_write import KINDS, write_gguf
from insource.engines.gptq_write import write_gptq
from insource.engines.label_text import write_text_form
from insource.engines.readout import INPUT
from insource.errors import Conflict, Invalid, Refused
from insource.nouns import Release
from insource.release.integrity import damage
from insource.store.files import disk, placed

MODEL = "model"
MERGED = "safetensors"
CONVERTED = ("openvino", "llamacpp")  # made over for one engine, they have no other form
CALIBRATED = ("gptq",)
QUOTES = '"""'
BRACES = re.compile(r"\{{2,}|\{\Z")  # what would begin an action of Go's template, or do so before one of ours


def export(release: Release, folder: Path, out: Path, form: str = MERGED, *, texts: Sequence[str] = ()) -> list[Path]:
    """Writes the model of the artefact in `folder` to `out` in one of `COPIES`, whole or not at all; the files there.

    `texts` are train rows, on which a form that asks for it is calibrated.
    Raises `Invalid` for a release that has no merged model or cannot be had in that form, `Refused` for a changed
    artefact, `Conflict` when `out` exists, `EngineDown` without the libraries, `StoreError` when the disk is full.
    """
    said = damage(folder, release.artefact, release.left)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}")
    if release.engine in CONVERTED or not (folder / MODEL).is_dir():
        raise Invalid(f"{release.name} has no merged model: its engine is {release.engine}",
                      hint="only trained models are exported; insource serves this one as it is")  # fmt: skip
    if form != MERGED and not read_manifest(folder).heads:
        raise Invalid(f"{release.name} writes its answers: it is a causal model like any other",
                      hint=f"--format {MERGED} is what other servers read")  # fmt: skip
    if out.exists():
        raise Conflict(f"{out} exists already", hint="name another folder with --out")
    with disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with placed(out) as part:
        part.mkdir()
        COPIES[form](release, folder, part, texts)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _merged(_: Release, folder: Path, out: Path, __: Sequence[str]) -> None:
    """As it was trained: each label is the token the manifest names."""
    shutil.copytree(folder / MODEL, out, dirs_exist_ok=True)
    shutil.copyfile(folder / MANIFEST, out / MANIFEST)


def _text(_: Release, folder: Path, out: Path, __: Sequence[str]) -> None:
    """For vLLM, TGI, LMDeploy and transformers: what it says reads as the answer."""
    manifest = read_manifest(folder)
    heads = write_text_form(folder / MODEL, manifest, out)
    write_manifest(out, msgspec.structs.replace(manifest, heads=heads, files=file_digests(out)))


def _gguf(kind: str, release: Release, folder: Path, out: Path, _: Sequence[str]) -> None:
    """For llama.cpp and Ollama: one file, and Ollama's description of it."""
    file = f"{release.task}-{release.version}-{kind}.gguf"
    manifest = read_manifest(folder)
    template = ollama_template(manifest.template)
    with tempfile.TemporaryDirectory(dir=out) as between:
        heads = write_text_form(folder / MODEL, manifest, Path(between))
        write_gguf(Path(between), out / file, kind, name=release.name)
    lines = (f"FROM ./{file}", f'TEMPLATE """{template}"""', "PARAMETER temperature 0",
             f"PARAMETER num_predict {len(heads)}", "")  # fmt: skip
    (out / "Modelfile").write_text("\n".join(lines), "utf-8")


def ollama_template(template: str) -> str:
    """The prompt as Ollama's template, which takes all of it but the input to the letter. Source: Go, text/template.

    Raises `Invalid` for quotes that would end the text in a Modelfile, which has no sign for them.
    """
    before, place, after = (BRACES.sub(r'{{ "\g<0>" }}', part) for part in template.partition(INPUT))
    made = f"{before}{{{{ .Prompt }}}}{after}" if place else before
    if QUOTES in made or made.endswith('"'):
        raise Invalid('the prompt ends in a quote or has three in a row: """ ends the prompt of a Modelfile',
                      hint="leave them out of the instruction and train again, or export --format hf")  # fmt: skip
    return made


def _gptq(_: Release, folder: Path, out: Path, texts: Sequence[str]) -> None:
    """For vLLM: the text form with its linear layers in 4 bits, their scales chosen on the task's own train rows."""
    manifest = read_manifest(folder)
    with tempfile.TemporaryDirectory(dir=out) as between:
        heads = write_text_form(folder / MODEL, manifest, Path(between))
        prompts = [manifest.template.replace(INPUT, text) for text in texts]
        write_gptq(Path(between), out, prompts)
    write_manifest(out, msgspec.structs.replace(manifest, heads=heads, files=file_digests(out)))


COPIES: dict[str, Callable[[Release, Path, Path, Sequence[str]], None]] = {
    MERGED: _merged,
    "hf": _text,
    **{f"gguf-{kind}": partial(_gguf, kind) for kind in KINDS},
    "gptq": _gptq,
}
