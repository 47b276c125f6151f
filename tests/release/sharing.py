"""Hosts that share a registry and a place, and a release of many files."""

import asyncio
import random
from pathlib import Path

from bundle_parts import RISK
from release_parts import TASK

from buckets import BUCKET, Server
from insource.engines.artefact import Manifest, file_digests, write_manifest
from insource.journeys.serve import close_path, open_path
from insource.nouns import Release, ask, to_json
from insource.settings import Settings, load_settings, load_task
from insource.store import Store


def host(root: Path, text: str, registry: Path | None = None) -> Settings:
    """A host: its own files, the registry in `registry`, its own where that is left out."""
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text(f'[store]\nurl = "sqlite"\n{text}')  # a file, which both see
    (root / "tasks" / "defects.toml").write_text(TASK.format(acceptance="accuracy = 0.8") + RISK)
    (root / ".insource").mkdir()
    if registry is not None:
        (root / ".insource" / "insource.db").symlink_to(registry / ".insource" / "insource.db")
    return load_settings(root, {"INSOURCE_CACHE": str(root / "cache")})


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def said(settings: Settings, store: Store, texts: list[str]) -> list[bytes]:
    path = await open_path("defects", settings, store)
    try:
        found = [await path.tiers[0].engine.complete(ask(path.task, text, id=str(n))) for n, text in enumerate(texts)]
        return [to_json([one.value, one.confidence, one.fields]) for one in found]
    finally:
        await close_path(path)


def damage_there(settings: Settings, key: str, data: bytes | None, server: Server) -> None:
    """Puts `data` in the place of an object, None takes it away."""
    if not settings.artefacts.bucket:
        path = Path(settings.artefacts.place) / key
        path.unlink() if data is None else path.write_bytes(data)
        return
    at = {"Bucket": BUCKET, "Key": settings.artefacts.prefix + key}
    server.client().delete_object(**at) if data is None else server.client().put_object(**at, Body=data)


def many(settings: Settings) -> Release:
    """A release of forty files and 8 MB on the first host, in its registry."""
    task = load_task(settings, "defects")
    folder = settings.state / "releases" / "defects" / "1.0.0"
    folder.mkdir(parents=True)
    for number in range(40):
        (folder / f"part{number:02}.bin").write_bytes(random.Random(number).randbytes(200_000))  # noqa: S311 - no secret
    manifest = Manifest(
        engine="linear", task=task, base="linear", base_digest="", dataset="d", recipe={}, heads=(),
        files=file_digests(folder),
    )  # fmt: skip
    release = Release(
        task="defects", version="1.0.0", engine="linear", base="linear", dataset="d", recipe="r",
        artefact=write_manifest(folder, manifest), folder="releases/defects/1.0.0",
    )  # fmt: skip

    async def register():
        async with await Store.open(settings) as store:
            await store.add_release(release)

    asyncio.run(register())
    return release
