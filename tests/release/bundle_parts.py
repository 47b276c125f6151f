"""A bundle made by the real way: rows, the linear engine, its gate, and the file."""

import struct
import zipfile
from pathlib import Path

from release_parts import keep_rows, rows, workspace

from insource.journeys.edge import Bundled, bundle
from insource.journeys.gate import gate
from insource.journeys.promote import promote
from insource.journeys.train import train
from insource.nouns import Release
from insource.settings import Settings, load_task
from insource.store import Store

RISK = '\n[risk]\nmax_error = 0.1\nelse = ["tier2", "review"]\n'


def home(root: Path) -> Settings:
    """A workspace whose task has a policy that names an engine."""
    settings = workspace(root)
    path = root / "tasks" / "defects.toml"
    path.write_text(path.read_text() + RISK)
    return settings


async def released(settings: Settings, store: Store, *, live: bool = True) -> Release:
    """The linear engine, trained, through its gate and live."""
    await keep_rows(store, rows())
    task = load_task(settings, "defects")
    release = await train(task, settings, store, base="linear")
    answered = await gate(task, release, settings, store)
    assert answered.passed, answered
    if live:
        await promote(release, settings, store)
    return await store.release("defects", release.version)


async def written(settings: Settings, store: Store, release: Release, out: Path) -> Bundled:
    return await bundle(load_task(settings, "defects"), release, settings, store, out)


def again(source: Path, out: Path, *, change=lambda name, data: data, more=(), put=None) -> Path:
    """The bundle written anew in its own layout, each member through `change` (None leaves it out), then `more`."""
    from insource.release.bundle import _put

    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        kept = [(name, change(name, old.read(name))) for name in old.namelist()]
        for name, data in [*kept, *more]:
            if data is None:
                continue
            if put is not None and put(new, name, data):
                continue
            with _put(new, name) as target:
                target.write(data)
    return out


def central(data: bytearray) -> int:
    """Where the central directory begins."""
    return struct.unpack("<I", data[-6:-2])[0]
