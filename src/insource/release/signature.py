"""A signature on a release: OpenSSF Model Signing 1.0, with a key of one's own, made and verified without a network.

It is a Sigstore bundle beside the artefact: an in-toto statement that lists every file with its SHA-256, in a signed
DSSE envelope. The artefact's digest in the store says that the files are those that were registered there; whoever can
write the store can change that. A signature says to whoever has the public half that the key's holder released them.
The rows that the trainer answered stay behind when a release travels, so they are left out; the signed manifest names
their digest.
"""

import contextlib
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insource.errors import Conflict, EngineDown, Invalid, Missing
from insource.nouns import Noun, Release
from insource.store.files import disk, placed, write_whole

FOLDER, FORM = "signatures", ".sig"
LEFT = ("trainer.jsonl",)
MISMATCHES = {"Extra files": "were added", "Missing files": "are missing"}
LARGEST = 16_000_000  # bytes of a signature; it has some 200 a file


class Seal(Noun, frozen=True, kw_only=True):
    """What a signature came to: `by` is the file of the key that made it, "" where none of those asked for did.

    `fault` says why not, in words.
    """

    by: str = ""
    fault: str = ""


def signature_file(state: Path, release: Release) -> Path:
    """Where the signature of `release` lies, if it has one."""
    return state / FOLDER / release.task / (release.version + FORM)


def make_key(file: Path) -> Path:
    """Writes a new private key (ECDSA P-256, PEM, for its owner alone) to `file`; its public half beside it.

    Returns the place of that: `file` with .pub behind it. Raises `Conflict` where there is one, `StoreError`.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    public = file.with_name(file.name + ".pub")
    for one in (file, public):
        if one.exists():
            raise Conflict(f"{one} exists already", hint="name another file")
    key = ec.generate_private_key(ec.SECP256R1())
    said = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    with disk(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(said)
            out.flush()
            os.fsync(out.fileno())
    write_whole(
        public, key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()
    )
    return public


def sign(folder: Path, key: Path, out: Path) -> None:
    """Signs the artefact in `folder` with the private key in the file `key`; the signature goes to `out`, whole.

    Raises `Missing` without the key, `Invalid` for one that is none of ECDSA on P-256, P-384 or P-521, `EngineDown`
    where the library that signs is not installed.
    """
    library = _library()
    _there(key, "private key")
    try:
        made = library.signing.Config().use_elliptic_key_signer(private_key=key)
    except (ValueError, TypeError, AttributeError) as error:
        raise Invalid(f"{key} is no private key that signs: {error}", hint="insource release key FILE") from error
    with disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with placed(out) as part:
        made.set_hashing_config(_hashing(library, folder)).sign(folder, part)


def sealed(folder: Path, signature: Path, keys: Sequence[Path]) -> Seal:
    """Which of the public `keys` signed the artefact in `folder` as it lies there; every file is read.

    Raises `Missing` without a key's file, `Invalid` for one that is none, `EngineDown` without the library.
    """
    if not signature.is_file():
        return Seal(fault="it is not signed")
    if signature.stat().st_size > LARGEST:
        return Seal(fault=f"{signature} is too large for a signature")
    library = _library()
    said = "yes, and nobody says by whose key: name it with --key FILE.pub, or under [signing] trusted"
    for key in keys:
        said = _verified(library, folder, signature, _there(key, "public key"))
        if not said:
            return Seal(by=str(key))
    return Seal(fault=said)


def _verified(library: Any, folder: Path, signature: Path, key: Path) -> str:
    """Why the signature is not of this key on these files; empty when it is."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        verifier = library.verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise Invalid(f"{key} is no public key that verifies: {error}", hint="insource release key FILE") from error
    try:
        # It prints to stdout of forms before 1.0, where our own document goes.
        with contextlib.redirect_stdout(io.StringIO()):
            verifier.verify(folder, signature)
    except InvalidSignature:
        return f"{signature.name} was not made with {key.name}, or was changed"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        return _words(str(error), signature, key)
    except OSError as error:
        return f"{error.filename or folder} cannot be read: {error.strerror}"
    return ""


def _words(said: str, signature: Path, key: Path) -> str:
    """What the library said, without what a stranger wrote into the signature."""
    if said.startswith("Key mismatch"):
        return f"it was signed with another key than {key.name}"
    if said.startswith("Signature mismatch"):
        odd = [f"{name} was changed" for name in re.findall(r"Hash mismatch for '([^'\x00-\x1f]{1,80})'", said)]
        odd += [f"files {words}" for mark, words in MISMATCHES.items() if mark in said]
        return f"the files are not those that were signed: {', '.join(odd)}"
    return f"{signature.name} is no whole signature"


def _hashing(library: Any, folder: Path) -> Any:
    return library.hashing.Config().set_ignored_paths(paths=[folder / name for name in LEFT], ignore_git_paths=False)


def _there(file: Path, what: str) -> Path:
    if not file.is_file():
        raise Missing(f"there is no {what} {file}", hint="insource release key FILE makes a pair")
    return file


def _library() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise EngineDown(
            "signatures need model-signing, which is not installed", hint="pip install 'insource[sign]'"
        ) from error
    return model_signing
