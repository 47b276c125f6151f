"""Whose release is it: sign one, and let none answer that nobody trusted has signed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from insource.engines.artefact import read_manifest
from insource.errors import Refused
from insource.nouns import Noun, Release
from insource.release.integrity import damage
from insource.release.shared import share_signature
from insource.release.signature import Seal, sealed, sign, signature_file
from insource.settings import Settings
from insource.store.place import place_of


class Signed(Noun, frozen=True, kw_only=True):
    """A release was signed: by the key in the file `key`; the signature lies in `file`."""

    release: str
    artefact: str
    key: str
    file: str


async def sign_release(release: Release, settings: Settings, key: Path) -> Signed:
    """Signs the files of `release`, which must be those that were released. A former signature is replaced.

    Raises `Refused` for changed files, and what `release.signature.sign` does.
    """
    folder, out = settings.state / release.folder, signature_file(settings.state, release)
    said = await asyncio.to_thread(damage, folder, release.artefact, release.left)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}", hint="restore its files first")
    await asyncio.to_thread(sign, folder, key, out)
    await asyncio.to_thread(share_signature, release, settings.state, place_of(settings))
    return Signed(release=release.name, artefact=release.artefact, key=str(key), file=str(out))


def seal_of(release: Release, settings: Settings, keys: Sequence[Path] = ()) -> Seal:
    """Who signed the files of `release` as they lie there: of `keys`, or of those that the settings trust.

    What is signed says of which task it is, so that no other task's release stands in for this one's.
    """
    trusted = [settings.root / file for file in settings.signing.trusted]
    folder = settings.state / release.folder
    seal = sealed(folder, signature_file(settings.state, release), keys or trusted)
    if seal.by and (signed := read_manifest(folder).task.name) != release.task:
        return Seal(fault=f"it was signed as a release of {signed}")
    return seal


async def must_be_signed(release: Release, settings: Settings) -> None:
    """Raises `Refused` where the settings trust keys and none of these signed the files of `release`."""
    if not settings.signing.trusted:
        return
    seal = await asyncio.to_thread(seal_of, release, settings)
    if not seal.by:
        raise Refused(
            f"{release.name} is not signed by whom this workspace trusts: {seal.fault}",
            hint=f"insource release sign {release.name} --key FILE, by the holder of a key of [signing] trusted",
        )
