"""The recipe: few dials. What is left at 0 is derived from the data, and the derivation is said aloud."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from insource.errors import Invalid, Missing
from insource.nouns import JsonObject, Noun

TOKENS_A_STEP = 640
LONGEST = 512
SHORTEST = 16
CUT = "longer texts are read in windows"


class Recipe(Noun, frozen=True, kw_only=True):
    """What a training run may be told. Zero means: derive it.

    `rank` of the LoRA factors on every linear layer (Hu et al. 2021); `layers` how many of the top layers are
    trained (0 = all); `max_tokens` how much of a long input is kept; `runs` from how many seeds it is trained, the
    weights averaged. `base_weights` "nf4" keeps the base in 4 bits meanwhile (QLoRA). `devices` is how many GPUs share
    each batch, a process each; on a machine without one, how many processes.
    """

    epochs: Annotated[int, Meta(ge=0, le=100)] = 0
    rank: Annotated[int, Meta(ge=0, le=256)] = 0
    learning_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    batch: Annotated[int, Meta(ge=0, le=1024)] = 0
    layers: Annotated[int, Meta(ge=0, le=1000)] = 0
    max_tokens: Annotated[int, Meta(ge=0, le=32768)] = 0
    patience: Annotated[int, Meta(ge=1, le=100)] = 2
    runs: Annotated[int, Meta(ge=1, le=16)] = 1
    base_weights: Literal["full", "nf4"] = "full"
    devices: Annotated[int, Meta(ge=0, le=64)] = 1
    label_names: bool = True
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0


class Plan(Noun, frozen=True, kw_only=True):
    """A recipe with nothing left open, and in `why` a line for each thing derived; `steps` and `tokens` of one run."""

    recipe: Recipe
    rows: int
    steps: int
    tokens: int
    why: tuple[str, ...]


def load_recipe(path: Path | None) -> Recipe:
    """The recipe in a TOML file; all defaults without one. Raises `Missing`, or `Invalid` naming the key."""
    if path is None:
        return Recipe()
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        return msgspec.convert(data, type=Recipe)
    except OSError as error:
        raise Missing(f"the recipe {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Invalid(f"{path}: {error}", hint="keys are listed in docs/reference/recipe.md") from error


def dials(recipe: Recipe) -> JsonObject:
    """Every dial, as manifests hold them: `devices` where there are several, so that one is written as it ever was."""
    found = {name: getattr(recipe, name) for name in recipe.__struct_fields__}
    return {name: value for name, value in found.items() if name != "devices" or value != 1}


def derive(recipe: Recipe, lengths: list[int], before: int = 0, *, longest: int = LONGEST) -> Plan:
    """Fills what the recipe leaves open from the lengths of the training rows, in tokens behind the `before` first.

    `longest` is the most that `max_tokens` is set to.
    Raises `Invalid` when `max_tokens` leaves no room for a text beside what is asked after it, and when a batch has
    fewer rows than there are devices.
    """
    if 0 < recipe.max_tokens < SHORTEST:
        raise Invalid(f"max_tokens is {recipe.max_tokens}", hint=f"at least {SHORTEST}, or leave it out")
    rows, why = len(lengths), []
    ordered = sorted(lengths)
    mean = sum(lengths) / rows
    filled: dict[str, float] = {}
    if not recipe.max_tokens:
        wanted = ordered[min(rows - 1, int(rows * 0.995))] + before + 8
        filled["max_tokens"] = max(SHORTEST, min(longest, wanted))
        why.append(f"max_tokens {filled['max_tokens']}: {'covers 99.5% of the rows' if wanted <= longest else CUT}")
    if not recipe.epochs:
        filled["epochs"] = next(epochs for least, epochs in EPOCHS if rows >= least)
        why.append(f"epochs {filled['epochs']}: {rows:,} rows")
    if not recipe.batch:
        filled["batch"] = max(8, min(64, round(TOKENS_A_STEP / mean / 8) * 8))
        why.append(f"batch {filled['batch']}: rows average {mean:.0f} tokens, about {TOKENS_A_STEP} tokens a step")
    if not recipe.rank:
        filled["rank"] = 16
        why.append("rank 16: on every linear layer")
    if not recipe.learning_rate:
        filled["learning_rate"] = 5e-4
        why.append("learning_rate 0.0005: one cycle, 10% rise, cosine fall")
    whole = msgspec.structs.replace(recipe, **filled)
    if whole.batch < whole.devices:
        raise Invalid(
            f"devices is {whole.devices}, and a batch has {whole.batch} rows", hint="fewer devices, or set batch"
        )
    steps = whole.epochs * -(-rows // whole.batch)
    kept = sum(min(length, whole.max_tokens) for length in lengths)
    return Plan(recipe=whole, rows=rows, steps=steps, tokens=whole.epochs * kept, why=tuple(why))


EPOCHS = ((5000, 3), (2500, 4), (1200, 6), (500, 8), (0, 10))
