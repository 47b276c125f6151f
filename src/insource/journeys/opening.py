"""Engines that compute where they are opened: a release from its artefact, a base model as it came.

The same functions open them in this process and on a machine of a cluster.
"""

from pathlib import Path

from insource.engines.artefact import must_be_released, read_manifest
from insource.engines.base import Engine
from insource.engines.local import LocalModel
from insource.engines.shared_base import Bases
from insource.engines.windowed import Windowed
from insource.nouns import Release, Task
from insource.settings import WorkspaceSettings


def open_release(release: Release, state: Path, workspace: WorkspaceSettings, bases: Bases) -> Engine:
    """The engine that serves `release`, from its artefact as it lies on this disk, under `state`."""
    folder, threads = state / release.folder, workspace.threads
    must_be_released(folder, release.artefact)
    if release.engine == "linear":
        from insource.engines.linear import Linear

        return Linear.load(folder, name=release.name, left=release.left)
    if read_manifest(folder).task.kind == "extract":
        from insource.engines.extractor import Extractor

        return Windowed(Extractor(folder, name=release.name, threads=threads, left=release.left))
    from insource.engines.specialist import Specialist

    shared = bases if workspace.share_base and release.engine == "torch" else None
    return Windowed(Specialist(folder, name=release.name, threads=threads, left=release.left, bases=shared))


def open_model(local: LocalModel, name: str, task: Task, threads: int) -> Engine:
    """The base model on this disk, for the task."""
    from insource.engines.base_model import BaseModel

    made = BaseModel(local, name=name, threads=threads)
    return made if task.kind == "generate" else Windowed(made)
