"""Does anything damaged load? python bench/bitflips.py DATA_ROOT [--flips N] [--json].

Two artefacts, on twelve labels of CLINC150: the linear engine and a specialist of SmolLM2. Each time one bit of one of
an artefact's files is another (a file drawn first, then a bit, so that small files have their turn), and the release is
opened as the gateway opens it. Counted are those that came up. Controls must let something through:

    unchecked    the linear engine's files read as they lie
    resealed     manifest and digest in the store made anew over the damaged file, as who can write both would do;
                 then the same where the workspace trusts the key that signed the release

And a backup restored elsewhere answers the test rows as the workspace does, to the last bit.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from degradation import NAME, place, rows
from insource.engines.artefact import MANIFEST, file_digests, read_manifest, write_manifest
from insource.engines.linear import WEIGHTS, WORDS, Linear, Words
from insource.errors import InsourceError, Invalid, Missing, Refused
from insource.journeys.drill import drill
from insource.journeys.gate import gate
from insource.journeys.lineup import Lineup
from insource.journeys.promote import promote
from insource.journeys.sign import must_be_signed, sign_release
from insource.journeys.train import train
from insource.nouns import Release, from_json
from insource.nouns.signing import Signing
from insource.release.signature import make_key
from insource.settings import Settings, load_task
from insource.stats import clopper_pearson_upper
from insource.store import Store

FLIPS = 1_000


@contextmanager
def flipped(file: Path, dice: random.Random) -> Iterator[None]:
    """One bit of the file is another for as long as this is open."""
    at, bit = dice.randrange(file.stat().st_size), 1 << dice.randrange(8)

    def turn() -> None:
        with file.open("r+b") as open_file:
            open_file.seek(at)
            (byte,) = open_file.read(1)
            open_file.seek(at)
            open_file.write(bytes([byte ^ bit]))

    turn()
    try:
        yield
    finally:
        turn()


def files_of(folder: Path) -> list[Path]:
    """Every file that has a bit, the manifest too."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def caught(folder: Path, open_it: Callable[[], Any], flips: int, dice: random.Random) -> dict[str, Any]:
    """How many of the flips were refused before an engine was there, and how the others ended."""
    files, by, loaded = files_of(folder), dict[str, int](), []
    for _ in range(flips):
        file = dice.choice(files)
        with flipped(file, dice):
            try:
                engine = open_it()
            except (Refused, Invalid, Missing) as error:
                by[type(error).__name__] = by.get(type(error).__name__, 0) + 1
                continue
            loaded.append(file.name)
            asyncio.run(engine.close())
    return {"flips": flips, "files": len(files), "caught": flips - len(loaded), "by": by, "loaded": loaded[:5]}


def unchecked(folder: Path, flips: int, dice: random.Random) -> dict[str, Any]:
    """The control: the linear engine's two files read without a look at any digest."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    came = 0
    for _ in range(flips):
        with flipped(folder / dice.choice((WORDS, WEIGHTS)), dice):
            try:
                words = from_json((folder / WORDS).read_bytes(), Words)
                engine = Linear(words, load_file(folder / WEIGHTS), name="damaged")
            except (InsourceError, SafetensorError, ValueError, KeyError):
                continue
            came += 1
            asyncio.run(engine.close())
    return {"flips": flips, "loaded": came}


async def resealed(release: Release, settings: Settings, flips: int, dice: random.Random) -> dict[str, Any]:
    """Flips that are sealed anew: how many come up without a signature asked for, and how many where one is."""
    folder, lineup = settings.state / release.folder, Lineup(settings, _no_store(), load_task(settings, NAME))
    before, plain, signed = (folder / MANIFEST).read_bytes(), 0, 0
    trusting = msgspec.structs.replace(settings, signing=Signing(trusted=("release.key.pub",)))
    for _ in range(flips):
        with flipped(folder / dice.choice((WORDS, WEIGHTS)), dice):
            manifest = read_manifest(folder)
            artefact = write_manifest(folder, msgspec.structs.replace(manifest, files=file_digests(folder)))
            forged = msgspec.structs.replace(release, artefact=artefact)
            try:
                await lineup.release(forged).close()
                plain += 1
            except (InsourceError, ValueError, KeyError):
                pass
            try:
                await must_be_signed(forged, trusting)
                signed += 1
            except Refused:
                pass
        (folder / MANIFEST).write_bytes(before)
    return {"flips": flips, "loaded_unsigned": plain, "passed_signed": signed}


def _no_store() -> Any:
    """A release is opened from its files alone."""
    return None


async def made(settings: Settings, base: str) -> Release:
    """A release of the task, on `base`, live."""
    async with await Store.open(settings) as store:
        task = load_task(settings, NAME)
        recipe = None if base == "linear" else settings.root / "recipe.toml"
        release = await train(task, settings, store, base=None if base != "linear" else base, recipe=recipe)
        await gate(task, release, settings, store)
        await promote(release, settings, store, why="bench")
        return await store.release(NAME, release.version)


async def drilled(settings: Settings) -> dict[str, Any]:
    """A backup of the workspace, restored elsewhere and asked the test rows."""
    async with await Store.open(settings) as store:
        out = settings.root / "backup.tar"
        await store.backup(out)
        found = await drill(settings, store, file=out, rows=1_000)
        return {**msgspec.to_builtins(found), "bytes": out.stat().st_size, "whole": found.whole}


def one(root: Path, data: Path, base: str, flips: int) -> dict[str, Any]:
    """Flips of an artefact on `base`, and its drill; of the linear one the controls as well."""
    settings = asyncio.run(place(root, rows(data)))
    file = settings.root / "tasks" / f"{NAME}.toml"
    file.write_text(file.read_text("utf-8").replace("accuracy = 0.9", "accuracy = 0.5"), "utf-8")
    release = asyncio.run(made(settings, base))
    make_key(settings.root / "release.key")
    asyncio.run(sign_release(release, settings, settings.root / "release.key"))
    lineup = Lineup(settings, _no_store(), load_task(settings, NAME))
    folder, dice = settings.state / release.folder, random.Random(11)  # noqa: S311 - the same bits each time
    began = time.monotonic()
    found: dict[str, Any] = {"engine": release.engine, "bytes": sum(f.stat().st_size for f in files_of(folder))}
    found["flipped"] = caught(folder, lambda: lineup.release(release), flips, dice)
    found["seconds"] = time.monotonic() - began
    if base == "linear":
        found["unchecked"] = unchecked(folder, flips // 5, dice)
        found["resealed"] = asyncio.run(resealed(release, settings, flips // 5, dice))
    found["drill"] = asyncio.run(drilled(settings))
    return found


def main() -> None:
    """Prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--flips", type=int, default=FLIPS, help="of all artefacts together")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for base in ("linear", "specialist"):
            found[base] = one(Path(folder) / base, wanted.data, base, wanted.flips // 2)
    flips = sum(each["flipped"]["flips"] for each in found.values())
    loaded = flips - sum(each["flipped"]["caught"] for each in found.values())
    document = {
        "bench": "bitflips",
        "flips": flips,
        "loaded": loaded,
        "upper95": clopper_pearson_upper(loaded, flips),
        "artefacts": found,
    }
    print(json.dumps(document) if wanted.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
