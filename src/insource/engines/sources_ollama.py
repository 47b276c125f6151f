"""A model in Ollama's own store on this disk: `ollama:[HOST/][NAMESPACE/]MODEL[:TAG]`, as `ollama list` names it.

Its manifest names layers by media type and SHA-256; the layer of the model is a GGUF file. No running Ollama is asked.
Layout: https://github.com/ollama/ollama/blob/main/docs/faq.mdx ("Where are models stored?").
"""

import json
import re
from pathlib import Path
from typing import Any

from insource.errors import Invalid, Missing, Refused

NAME = re.compile(
    r"(?:(?:([\w][\w.:-]{0,99})/)?([\w][\w.-]{0,99})/)?([\w][\w.-]{0,99})(?::([\w][\w.-]{0,99}))?", re.ASCII
)
HOST, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"
MODEL, ADAPTER = "application/vnd.ollama.image.model", "application/vnd.ollama.image.adapter"
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
LARGEST = 1_000_000  # bytes of a manifest


def blob(rest: str, store: Path) -> tuple[Path, str]:
    """The GGUF file of the model `rest` in `store`, and the SHA-256 that its manifest gives it.

    Raises `Invalid` for a name that is none, `Missing` where it is not in the store, `Refused` for a model of several
    files and for a manifest that is none.
    """
    found = NAME.fullmatch(rest)
    if not found or ".." in rest:
        raise Invalid(f"ollama:{rest} is not ollama:[HOST/][NAMESPACE/]MODEL[:TAG]", hint="ollama list shows the names")
    host, namespace, model, tag = found.groups()
    manifest = store / "manifests" / (host or HOST) / (namespace or NAMESPACE) / model / (tag or TAG)
    if not manifest.is_file():
        raise Missing(f"Ollama's store {store} has no {rest}", hint=f"ollama pull {rest}, or set OLLAMA_MODELS")
    layers = _layers(manifest)
    kinds = [layer.get("mediaType") for layer in layers]
    digests = [DIGEST.fullmatch(str(layer.get("digest"))) for layer in layers if layer.get("mediaType") == MODEL]
    if ADAPTER in kinds or len(digests) != 1 or digests[0] is None:
        raise Refused(f"{rest} is not one GGUF file: it has {kinds.count(MODEL)} and {kinds.count(ADAPTER)} adapters",
                      hint="name the base model; train makes adapters of its own")  # fmt: skip
    path = store / "blobs" / f"sha256-{digests[0][1]}"
    if not path.is_file():
        raise Missing(f"Ollama's store {store} lacks the weights of {rest}", hint=f"ollama pull {rest}")
    return path, digests[0][1]


def _layers(manifest: Path) -> list[dict[str, Any]]:
    try:
        with manifest.open("rb") as file:
            read = json.loads(file.read(LARGEST))
        return [layer for layer in read["layers"] if isinstance(layer, dict)]
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise Refused(f"{manifest} is no manifest of Ollama's", hint="ollama pull makes it anew") from error
