"""The ways out of engines, of models that are fetched, and to processes of our own."""

from pathlib import Path

from insource.nouns import PREMISES, Networks
from insource.settings import Settings
from insource.store import egress
from insource.store.outward import PORTS, LookUp, Outward, destination_of, host_of

__all__ = [  # what is handed on from below; all that is defined here is public by its name
    "PORTS",
    "LookUp",
    "Outward",
    "destination_of",
    "host_of",
]


def to_engine(name: str, settings: Settings) -> Outward:
    """The way out to the engine called `name` in insource.toml."""
    region = settings.engines[name].region
    return Outward(f"engine {name}", region, networks=settings.networks, journal=settings.state / egress.FILE)


def to_models(cache: Path) -> Outward:
    """The way out to where base models come from. What was fetched serves every workspace, and so does the journal."""
    return Outward("model download", journal=cache / egress.FILE)


def to_cluster(settings: Settings) -> Outward:
    """The way out to machines that compute for this workspace: what they are sent must not leave the premises."""
    return Outward("Ray cluster", PREMISES, networks=settings.networks, journal=settings.state / egress.FILE)


def to_itself(purpose: str) -> Outward:
    """The way to a process of our own on this machine: loopback and nothing else."""
    return Outward(purpose, PREMISES, networks=Networks(places={PREMISES: ("127.0.0.0/8", "::1/128")}))
