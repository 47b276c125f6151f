"""Engines on the nodes of a Ray cluster: what a node is told and given, so that it opens the very same one.

The call's path, its records, claims and budget stay in this process; only what computes is there. Keys and engines that
are reached over HTTP never go there.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from pathlib import Path

import msgspec

from insource.engines.artefact import MANIFEST, must_be_released, read_manifest
from insource.engines.base import Engine
from insource.engines.crew import Crew
from insource.engines.local import LocalModel
from insource.engines.outward import to_cluster
from insource.engines.parcels import Packed, pack
from insource.engines.ray_cluster import Actors, Cluster
from insource.journeys.cluster_node import BASE, MODEL, STATE, Node, Order
from insource.nouns import Release, Task, to_json
from insource.settings import Settings

Progress = Callable[[str, int, int], None]


@asynccontextmanager
async def cluster_at(address: str, settings: Settings) -> AsyncIterator[Cluster | None]:
    """The Ray cluster at `address` for the block, none where that is empty. Raises as `Cluster` does.

    Of a node that is lost Ray prints what it knows to stdout, which is for the result alone; its own logs have it too.
    """
    if not address:
        yield None
        return
    with _silent():
        cluster = Cluster(address, to_cluster(settings))
        try:
            yield cluster
        finally:
            cluster.close()


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is printed to stdout in the block."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def release_there(release: Release, settings: Settings, cluster: Cluster, progress: Progress) -> Engine:
    """The engine that serves `release`, opened on every node from the files that it has here.

    Raises `Refused` for an artefact that is not the one that was released, and as `Crew` does.
    """
    folder = settings.state / release.folder
    must_be_released(folder, release.artefact)
    manifest, workspace = read_manifest(folder), settings.workspace
    names = [MANIFEST, *(name for name in manifest.files if (folder / name).is_file())]
    parcels = [pack({f"{STATE}/{release.folder}/{name}": folder / name for name in names})]
    if workspace.share_base and release.engine == "torch":
        parcels.append(_base(manifest.base_digest, settings.cache))
    order = Order(
        release=release,
        threads=workspace.threads,
        share_base=workspace.share_base,
        parcels=tuple(one.parcel for one in parcels),
    )
    return _crew(release.name, (order, parcels), cluster, progress)


def model_there(
    asked: tuple[LocalModel, str, Task], settings: Settings, cluster: Cluster, progress: Progress
) -> Engine:
    """A base model under a name for a task, opened on every node from the files that it has here."""
    local, name, task = asked
    packed = pack({f"{MODEL}/{file}": path for file, path in _files(local.folder, settings.cache).items()})
    order = Order(
        name=name,
        task=task,
        model=(local.name, local.sha256),
        threads=settings.workspace.threads,
        parcels=(packed.parcel,),
    )
    return _crew(name, (order, [packed]), cluster, progress)


def _crew(name: str, ordered: tuple[Order, list[Packed]], cluster: Cluster, progress: Progress) -> Crew:
    progress(f"{name}: opening on the nodes of the cluster", 0, 1)
    staff = Actors(cluster, Node, to_json(ordered[0]), ordered[1])
    crew = Crew(name, staff, tell=lambda words: progress(words, 0, 0))
    answering, places = crew.size
    progress(f"{name}: {answering} of {places} nodes answer so far", 1, 1)
    return crew


def _files(folder: Path, cache: Path) -> dict[str, Path]:
    """The files of a model that lies in `folder`: those that the cache knows, and nothing else that lies there."""
    from insource.engines.models import kept_models

    found = next(kept for home, kept in kept_models(cache).items() if (Path(kept.folder or home)) == folder)
    return {name: folder / name for name in found.files}


def _base(sha256: str, cache: Path) -> Packed:
    """The base model of that digest, as a cache of its own. Nothing where it is not here: who opens it says so."""
    from insource.engines.models import MANIFEST as KEPT
    from insource.engines.models import kept_models

    for home, kept in kept_models(cache).items():
        if kept.sha256 == sha256:
            marks = {name: msgspec.structs.replace(mark, written=0) for name, mark in kept.files.items()}
            there = msgspec.structs.replace(kept, folder="", origin={}, files=marks)
            under, folder = f"{BASE}/{home.name}", Path(kept.folder or home)
            files: dict[str, Path | bytes] = {f"{under}/{name}": folder / name for name in kept.files}
            return pack(files | {f"{under}/{KEPT}": to_json(there)})
    return pack({})
