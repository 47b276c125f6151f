"""Many specialists on one base model in memory: each puts its adapter on for its own calls and leaves the rest alone.

    y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ      W belongs to the base, A and B to the specialist; no merged weight is ever built

Beside its factors a specialist has two sets of rows: those its labels are read from, and those that stand for its
labels as inputs, which are put into the base's embedding while it answers. One specialist computes at a time.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from insource.engines.artefact import Manifest
from insource.engines.deployment import Turnstile
from insource.engines.local import LocalModel
from insource.engines.models import find, kept_models, model_faults
from insource.engines.prefix import Prefix
from insource.engines.readout import (
    Encoder,
    Reader,
    load_body,
    load_tokenizer,
    pick_attention,
    pick_device,
    pick_dtype,
)
from insource.errors import EngineDown, Invalid, Missing, Refused

FACTORS = "base_model.model.model."  # as PEFT names what lies in a causal language model


@dataclass(frozen=True, eq=False)
class Adapter:
    """What one specialist adds to its base, in the base's type of number.

    `factors` maps a linear layer to A [rank, in] and s·B [out, rank]; `rows` [labels, hidden] are the embeddings of
    `tokens`; `labels` holds per output the float32 rows [labels, hidden] that it is read through.
    """

    factors: dict[str, tuple[Any, Any]]
    tokens: Any
    rows: Any
    labels: tuple[Any, ...]
    attention: str


class Bases:
    """The base networks of this process, loaded with their first specialist, gone with their last.

    One per base model, and one more where specialists were trained over its weights in 4 bits. `turnstiles` stand
    before the servers of this process, by their engines' names.
    """

    def __init__(self, cache: Path) -> None:
        self.turnstiles: dict[str, Turnstile] = {}
        self._cache = cache
        self._held: WeakValueDictionary[tuple[str, str], Base] = WeakValueDictionary()
        self._one = threading.Lock()

    def reader(self, folder: Path, manifest: Manifest, threads: int = 0) -> "SharedReader":
        """Reads the specialist in `folder` off its base.

        Raises `Missing` when the base is not on this machine, `Refused` when it is another than the specialist was
        trained on, `Invalid` without an adapter, `EngineDown` without torch or for files that cannot be read.
        """
        which = manifest.base_digest, str(manifest.recipe.get("base_weights", "full"))
        with self._one:
            base = self._held.get(which)
            if base is None:
                base = self._held[which] = Base(self._whole(manifest), threads, which[1])
        adapter = load_adapter(folder, manifest, base.body)
        return SharedReader(base, adapter, manifest, base.encoder(folder, manifest))

    def _whole(self, manifest: Manifest) -> Path:
        local = trained_on(manifest, self._cache)
        for home, kept in kept_models(self._cache).items():
            said = model_faults(home, kept) if kept.name == local.name else []
            if said:
                hint = f"insource models pull --again {local.name}"
                raise Refused(f"the base model {local.name} was changed: {'; '.join(said)}", hint=hint)
        return local.folder


class Base:
    """One network, which wears the adapter of the specialist that called last."""

    def __init__(self, folder: Path, threads: int, weights: str = "full") -> None:
        device = pick_device()
        self.body = load_body(folder, device=device, dtype=pick_dtype(device), threads=threads, weights=weights)
        self._factors: dict[str, tuple[Any, Any]] = {}
        self._listening: set[str] = set()
        self._worn: Adapter | None = None
        self._under: Any = None
        self._one = threading.Lock()
        self._tokenizers: dict[str, Any] = {}

    def encoder(self, folder: Path, manifest: Manifest) -> Encoder:
        """The encoder of the specialist in `folder`; those whose tokenizers are the same file share it."""
        with self._one:
            sha = manifest.files["model/tokenizer.json"]
            if sha not in self._tokenizers:
                self._tokenizers[sha] = load_tokenizer(folder / "model")
        tokenizer = self._tokenizers[sha]
        return Encoder(folder / "model", manifest.max_tokens, manifest.template, tokenizer=tokenizer)

    @contextmanager
    def wear(self, adapter: Adapter) -> Iterator[None]:
        """The network is this specialist's, and nobody else's, meanwhile."""
        with self._one:
            if self._worn is not adapter:
                self._change(adapter)
            yield

    def _change(self, adapter: Adapter) -> None:
        import torch

        embedding = self.body.get_input_embeddings().weight
        with torch.no_grad():
            if self._worn is not None:
                embedding[self._worn.tokens] = self._under
            self._under = embedding[adapter.tokens].clone()
            embedding[adapter.tokens] = adapter.rows
        self._listen(adapter)
        self._factors.clear()
        self._factors.update(adapter.factors)
        if self.body.config._attn_implementation != adapter.attention:  # noqa: SLF001 - it has no public name
            self.body.set_attn_implementation(adapter.attention)
        self._worn = adapter

    def _listen(self, adapter: Adapter) -> None:
        for name in adapter.factors.keys() - self._listening:
            layer = self.body.get_submodule(name)
            layer.register_forward_hook(partial(_add, self._factors, name))
            self._listening.add(name)


class SharedReader:
    """Logits as `Reader` gives them, on a base that others use too."""

    def __init__(self, base: Base, adapter: Adapter, manifest: Manifest, encoder: Encoder) -> None:
        self.base, self.adapter, self.encoder = base, adapter, encoder
        tokens = [head.tokens for head in manifest.heads]
        self._reader = Reader(Prefix(base.body, encoder.before), adapter.labels, tokens, end=encoder.end)

    def logits(self, encoded: Sequence[Sequence[int]]) -> list[Any]:
        """Per output a float32 CPU tensor [rows, labels]."""
        with self.base.wear(self.adapter):
            return self._reader.logits(encoded)


def trained_on(manifest: Manifest, cache: Path) -> LocalModel:
    """The base model of a specialist, as it lies on this disk. Raises `Missing`, or `Refused` for another digest."""
    local = find(manifest.base, cache)
    if local is None:
        raise Missing(
            f"the base model {manifest.base} is not on this machine, and with share_base specialists need it",
            hint=f"insource models pull {manifest.base}, or take share_base out of insource.toml",
        )
    if local.sha256 != manifest.base_digest:
        raise Refused(
            f"the base model {manifest.base} has SHA-256 {local.sha256}, the specialist was trained on"
            f" {manifest.base_digest}",
            hint="pull the one it was trained on, or take share_base out of insource.toml",
        )
    return local


def load_adapter(folder: Path, manifest: Manifest, body: Any) -> Adapter:
    """The adapter of the artefact in `folder`, for `body`. Raises `Invalid`, `EngineDown`."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weight = body.get_input_embeddings().weight
    device, dtype = weight.device, weight.dtype
    try:
        scale = _scale(folder / "adapter" / "adapter_config.json")
        factors = load_file(folder / "adapter" / "adapter_model.safetensors")
        labels = load_file(folder / "adapter" / "label_rows.safetensors")
        tokens = [token for head in manifest.heads for token in head.tokens]
        rows = _embedded(folder / "model" / "model.safetensors", body, tokens)
        # in bfloat16 first, as the merged model keeps them
        read = [labels[head.name].to(torch.bfloat16).float().to(device) for head in manifest.heads]
        pairs = _pairs(factors, scale, body)
    except FileNotFoundError as error:
        raise Invalid(f"{folder} has no adapter: {error.filename} is missing", hint="insource train TASK") from error
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise EngineDown(f"the adapter in {folder} does not fit its base model: {error}") from error
    attention = pick_attention(str(device), manifest.max_tokens)
    return Adapter(pairs, torch.tensor(tokens, device=device), rows.to(device, dtype), tuple(read), attention)


def _scale(config: Path) -> float:
    data = json.loads(config.read_text("utf-8"))
    return float(data["lora_alpha"]) / float(data["r"])


def _pairs(factors: dict[str, Any], scale: float, body: Any) -> dict[str, tuple[Any, Any]]:
    """Layer → A and s·B. Raises AttributeError for a layer that the body has not, ValueError for another shape."""
    found = {}
    for key, a in factors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        name = key.removeprefix(FACTORS).removesuffix(".lora_A.weight")
        weight, b = body.get_submodule(name).weight, factors[key.replace(".lora_A.", ".lora_B.")]
        if (len(b), a.shape[1]) != tuple(weight.shape):
            raise ValueError(f"{name} is {tuple(weight.shape)} there and {(len(b), a.shape[1])} here")
        found[name] = a.to(weight.device, weight.dtype), (b * scale).to(weight.device, weight.dtype)
    return found


def _embedded(weights: Path, body: Any, tokens: Sequence[int]) -> Any:
    """What the merged model has in the place of `tokens`: rows [tokens, hidden], without reading the rest."""
    import torch
    from safetensors import safe_open

    table = body.get_input_embeddings().weight
    name = next(name for name, parameter in body.named_parameters() if parameter is table)
    with safe_open(weights, framework="pt", device="cpu") as file:
        kept = file.get_slice(f"model.{name}")
        return torch.cat([kept[token : token + 1] for token in tokens])


def _add(worn: dict[str, tuple[Any, Any]], name: str, _: Any, given: tuple[Any, ...], out: Any) -> Any:
    """Adds the worn update of the layer `name` to what the base makes of `given`."""
    pair = worn.get(name)
    if pair is None:
        return out
    a, b = pair
    narrow = given[0].reshape(-1, a.shape[1]) @ a.T
    out.view(-1, len(b)).addmm_(narrow, b.T)
    return out
