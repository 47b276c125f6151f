"""Probes at the terminal: asked when a model is pulled, shown when it is verified."""

from pathlib import Path

from insource.cli.door import Door, run
from insource.cli.words import mark
from insource.engines.local import LocalModel
from insource.engines.models import keep_probes, probes_of
from insource.errors import EngineError, Invalid, Refused
from insource.measure.probes import Probed, probes
from insource.nouns import from_json, to_json
from insource.settings import cache_folder

WHAT = {
    "override": "orders in a text not followed",
    "leak": "secrets of the system's turn kept",
    "fake-turn": "turns faked in a text not believed",
    "harm": "harmful requests declined",
    "loop": "answers that do not go in circles",
    "format": "answers under a schema whole and valid",
    "same": "the same answer to the same question",
}


def probed_here(door: Door, model: str, local: LocalModel, *, anew: bool) -> Probed | None:
    """The probes' outcome for this model, asked now if need be; None, and said, where it cannot be asked."""
    cache = cache_folder()
    before = None if anew else kept_probes(model, cache)
    if before is not None and before.model == local.sha256 and before.table == probes().sha256:
        return before
    from insource.journeys.probe import probe

    try:
        with door.progress() as progress:
            found = run(probe(local, progress=progress))
    except EngineError as error:
        door.say(f"{model} could not be probed: {error}")
        return None
    keep_probes(model, cache, to_json(found))
    return found


def kept_probes(model: str, cache: Path) -> Probed | None:
    """The outcome that lies beside the model; None without one, or with one of another version."""
    found = probes_of(model, cache)
    try:
        return None if found is None else from_json(found, Probed)
    except Invalid:
        return None


def probe_lines(found: Probed | None) -> list[str]:
    """What to say of the outcome: how often it held, by kind, and what that means."""
    if found is None:
        return ["not probed: insource models verify --probe asks it"]
    lines = [f"  {held:>2} of {asked:<3} {WHAT[kind]}" for kind, (held, asked) in found.counts().items()]
    return [
        f"probed in {found.seconds:.0f} s (table {found.table[:12]}, insource {found.version}):",
        *lines,
        f"  {mark(not found.slipped)} control tokens written in a text stay text ({found.tried:,} tried)",
        "  It says how this model behaves untuned. It is no promise that it is safe.",
    ]


def refuse_broken(model: str, found: Probed | None) -> None:
    """Raises `Refused` when the engine did not do with the model what it must."""
    if found is not None and found.broken:
        raise Refused(
            f"{model}: {'; '.join(found.broken)}", hint=f"insource models verify --probe {model} --json shows all"
        )
