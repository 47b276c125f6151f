"""Checkpoints of the audit chain: its last entry, signed with Ed25519 (RFC 8032), a line each in a file kept elsewhere.

Whoever can write the database can cut its end off, or make the whole chain anew. He cannot sign a checkpoint that says
otherwise, nor take back those that left the machine. The private key lies beside the database, for its owner alone;
who verifies needs the public one.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import Any, BinaryIO

from insource.errors import Invalid, StoreError
from insource.nouns import Noun, from_json, to_json
from insource.store.links import SPAN
from insource.store.verified import Head

KEY = "audit.key"
LONGEST_LINE = 4096  # bytes; a checkpoint has some 250
LOOKED_BACK = 262_144


class Checkpoint(Noun, frozen=True, kw_only=True):
    """The last entry at a time (UTC, ISO 8601); `signature` is of all that stands before it, in base64."""

    seq: int
    hash: str
    at: str
    signature: str = ""

    @property
    def said(self) -> bytes:
        """What is signed."""
        return to_json(["insource audit checkpoint 1", self.seq, self.hash, self.at])


def sign(state: Path, head: Head, at: str) -> Checkpoint:
    """A signed checkpoint. The key in `state` is made when there is none."""
    plain = Checkpoint(seq=head.seq, hash=head.hash, at=at)
    signature = base64.b64encode(_private(state).sign(plain.said)).decode()
    return Checkpoint(seq=head.seq, hash=head.hash, at=at, signature=signature)


def write(checkpoint: Checkpoint, file: Path) -> None:
    """Adds a line to `file`, durably. Raises `StoreError`."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab+") as out:
            whole = _whole_lines(out)
            out.truncate(whole)  # a crash may have cut off the last line, which was never durable
            out.seek(max(0, whole - 1))
            out.write((b"" if out.read(1) in (b"", b"\n") else b"\n") + to_json(checkpoint) + b"\n")
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise StoreError(
            f"no checkpoint could be written to {file}: {error.strerror}", hint="audit.checkpoints"
        ) from error


def read(file: Path) -> list[Checkpoint]:
    """Every checkpoint in `file`. Raises `Invalid` for a line that is none, naming it; none where there is no file.

    A line that was cut off at the end of the file does not count.
    """
    if not file.is_file():
        return []
    found = []
    with file.open("rb") as lines:
        data = lines.read(_whole_lines(lines))
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            found.append(from_json(line, Checkpoint))
        except Invalid as error:
            raise Invalid(
                f"{file}:{number} is no checkpoint: {error}", hint="give the file as it was written"
            ) from error
    return found


def last(file: Path) -> Checkpoint | None:
    """The checkpoint that `file` ends with, however long it is. Raises `Invalid` where its last line is none."""
    if not file.is_file():
        return None
    with file.open("rb") as lines:
        end = _whole_lines(lines)
        lines.seek(max(0, end - LONGEST_LINE))
        found = lines.read(end - lines.tell()).splitlines()
    return from_json(found[-1], Checkpoint) if found else None


def latest(file: Path) -> dict[int, Checkpoint]:
    """Chain → the last checkpoint of it near the end of `file`. Raises `Invalid` for a line there that is none."""
    if not file.is_file():
        return {}
    with file.open("rb") as lines:
        end = _whole_lines(lines)
        start = max(0, end - LOOKED_BACK)
        lines.seek(start)
        found = lines.read(end - start).splitlines()[bool(start) :]  # the first may be half a line
    return {one.seq // SPAN: one for one in (from_json(line, Checkpoint) for line in found)}


def signed(checkpoint: Checkpoint, public: str) -> bool:
    """Whether the signature is of the key whose public half (base64) this is."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(public, validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error) as error:
        raise Invalid("that is no public key", hint="insource audit key prints it") from error
    try:
        key.verify(base64.b64decode(checkpoint.signature, validate=True), checkpoint.said)
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def public_key(state: Path) -> str:
    """The public half of the key in `state`, in base64: keep it where you keep the checkpoints."""
    return base64.b64encode(_private(state).public_key().public_bytes_raw()).decode()


def _private(state: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    file = state / KEY
    if not file.exists():
        _keep(file, Ed25519PrivateKey.generate().private_bytes_raw())
    try:
        return Ed25519PrivateKey.from_private_bytes(file.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"the key {file} cannot be read", hint="restore it from a backup") from error


def _whole_lines(file: BinaryIO) -> int:
    """How many bytes of the file are whole lines; it is at its beginning then. The last one may lack its end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LONGEST_LINE))
    behind = file.read().rpartition(b"\n")[2]
    file.seek(0)
    try:
        from_json(behind, Checkpoint)
    except Invalid:
        return size - len(behind)
    return size


def _keep(file: Path, secret: bytes) -> None:
    """Writes a new file that only its owner may read; where another process was quicker, its file stands."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(secret)
            out.flush()
            os.fsync(out.fileno())
        os.link(part, file)
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(f"the key {file} cannot be written: {error.strerror}", hint="check that folder") from error
    finally:
        part.unlink(missing_ok=True)
