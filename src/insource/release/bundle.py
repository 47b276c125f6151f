"""A release as one file that answers with no network: its artefact, its task and policy, and the gate it passed.

    bundle.json      what this is, and size and SHA-256 of every other member; always first
    artefact/…       the release's folder, but for the rows that its trainer answered

A plain zip: nothing compressed, members one behind the other, names sorted, times fixed. The same release makes the
same bytes, and a file that is laid out in any other way is refused before anything in it is used.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from zipfile import ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from msgspec import UNSET, UnsetType

from insource.engines.artefact import MANIFEST, SAFE, Manifest, file_digest
from insource.errors import Conflict, Invalid, Missing, Refused
from insource.nouns import Gate, Noun, Release, Task, digest, from_json, to_json
from insource.nouns.sections import RiskSettings
from insource.release.register import parse_version
from insource.release.stages import evidence
from insource.store.files import disk, placed

HEAD = "bundle.json"
ARTEFACT = "artefact/"
LEFT = ("trainer.jsonl",)  # texts of dev rows: the gate needs them, an answer does not
FORMAT = 1
LARGEST_HEAD = 64_000_000
MOST = 10_000
PIECE = 1 << 20
HEADER = 30 + 20  # bytes before a member, its name not counted: the fixed part, and its sizes in 64 bits
EXTRAS = {"linear": "data", "torch": "train"}


class Member(Noun, frozen=True, kw_only=True):
    """A file of the bundle: its SHA-256 and its size in bytes."""

    sha256: str
    bytes: int


class Bundle(Noun, frozen=True, kw_only=True):
    """bundle.json. `release` is a candidate wherever it arrives; `gate` is why it may go live there.

    `task` carries the policy: whoever is unsure asks a person, since help at other addresses stays where the bundle was
    made; `risk` is what the task's file says of it beside: the audit, what is out of scope, limits of fields.
    `threshold` is the confidence demanded, None when every valid answer is given; `promise` says what it
    guarantees. `needs` is what must be installed; `code` is the version that wrote this. `signature` is the text of the
    release's (`release.signature`), left out where it has none.
    """

    format: int = FORMAT
    release: Release
    task: Task
    risk: RiskSettings = RiskSettings()
    gate: Gate
    threshold: float | None = None
    promise: str = ""
    needs: str
    code: str
    members: dict[str, Member] = {}
    signature: str | UnsetType = UNSET


def needs(engine: str, *, scanned: bool = False) -> str:
    """What must be installed where `engine` answers, as pip takes it. Extras are called like their engine."""
    return f"insource[{EXTRAS.get(engine, engine)}{',scan' if scanned else ''}]"


def members(folder: Path) -> dict[str, Path]:
    """The names that the artefact in `folder` has in a bundle, and its files."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    named = {ARTEFACT + path.relative_to(folder).as_posix(): path for path in found}
    return {name: named[name] for name in sorted(named) if name.removeprefix(ARTEFACT) not in LEFT}


def pack(bundle: Bundle, files: dict[str, Path], out: Path) -> Member:
    """Writes `out`, whole or not at all; its size and SHA-256. Raises `Conflict` when it exists, `StoreError`."""
    if out.exists():
        raise Conflict(f"{out} exists already", hint="name another file with --out")
    with placed(out) as part:
        with ZipFile(part, "w", ZIP_STORED) as zip_:
            head = to_json(bundle)
            with _put(zip_, HEAD) as target:
                target.write(head)
            for name, path in files.items():
                with path.open("rb") as source, _put(zip_, name) as target:
                    shutil.copyfileobj(source, target, PIECE)
        return member_of(part)


def member_of(path: Path) -> Member:
    """Size and SHA-256 of a file."""
    return Member(sha256=file_digest(path), bytes=path.stat().st_size)


def check(file: Path, sha256: str = "") -> Bundle:
    """The bundle in `file`, every byte of it read and found to be what bundle.json says; nothing is written.

    With `sha256` the file itself must have that digest. Raises `Missing` without the file, `Invalid` for one that is no
    bundle, `Refused` for a bundle in which anything is changed, missing, added or out of its place.
    """
    if not file.is_file():
        raise Missing(f"there is no bundle {file}")
    if sha256 and file_digest(file) != sha256.lower():
        raise Refused(f"{file} has SHA-256 {file_digest(file)}, not {sha256.lower()}", hint="copy it again")
    with _opened(file) as zip_:
        infos = _in_order(zip_, file)
        bundle = _head(zip_, infos, file)
        names = [info.filename for info in infos[1:]]
        said = [f"{name} is missing" for name in bundle.members if name not in names]
        said += [f"{name} was added" for name in names if name not in bundle.members]
        for info in infos[1:]:
            member = bundle.members.get(info.filename)
            if member and (info.file_size != member.bytes or _digest(zip_, info) != member.sha256):
                said.append(f"{info.filename} was changed")
        said = said or _artefact_faults(zip_, bundle)
    if said:
        raise Refused(
            f"{file} is not the bundle that was made: {'; '.join(said)}", hint="copy it again from its origin"
        )
    return bundle


def unpack(file: Path, bundle: Bundle, folder: Path) -> None:
    """Writes the artefact of a bundle that `check` passed into the new folder `folder`, whole or not at all.

    Raises `Refused` when the file has changed since, `StoreError` when the disk is full.
    """
    with disk(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with placed(folder) as part, _opened(file) as zip_:
        for name, member in bundle.members.items():
            path = part / name.removeprefix(ARTEFACT)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:
                for piece in _pieces(zip_, name):
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            if file_digest(path) != member.sha256:
                raise Refused(f"{name} changed while {file} was read", hint="run the same again")


def _put(zip_: ZipFile, name: str) -> IO[bytes]:
    return zip_.open(_info(name), "w", force_zip64=True)  # so that every header is of one form


def _info(name: str) -> ZipInfo:
    info = ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    return info


def _has_our_header(zip_: ZipFile, info: ZipInfo) -> bool:
    """Whether the bytes before a member are those that `pack` puts there: other readers go by them, and not by ours."""
    ours = _info(info.filename)
    ours.CRC, ours.file_size, ours.compress_size = info.CRC, info.file_size, info.compress_size
    wanted = ours.FileHeader(zip64=True)
    if zip_.fp is None:
        return False
    zip_.fp.seek(info.header_offset)
    return zip_.fp.read(len(wanted)) == wanted


def _opened(file: Path) -> ZipFile:
    try:
        return ZipFile(file)
    except (BadZipFile, LargeZipFile, ValueError, EOFError, RuntimeError) as error:
        raise Invalid(f"{file} is no bundle: {error}", hint="insource release bundle makes one") from error
    except OSError as error:
        raise Missing(f"{file} cannot be read: {error.strerror}") from error


def _in_order(zip_: ZipFile, file: Path) -> list[ZipInfo]:
    """The members, each where and how `pack` puts it: so no byte is hidden, shared by two or beyond the file's size."""
    infos = zip_.infolist()
    names = [info.filename for info in infos]
    if len(infos) > MOST or names[:1] != [HEAD] or names[1:] != sorted(names[1:]):
        raise Invalid(f"{file} is no bundle: {HEAD} and then the artefact's files, by name, are what is in one")
    if len({name.casefold() for name in names}) < len(names):
        raise Refused(f"{file} names a member twice", hint="copy it again from its origin")
    at = 0
    for info in infos:
        if info.header_offset != at or _odd(info) or not _has_our_header(zip_, info):
            raise Refused(f"{file} holds {info.filename!r} in a way that no bundle does", hint="use it for nothing")
        at += HEADER + len(info.filename) + info.file_size
    if at != zip_.start_dir or zip_.comment:
        raise Refused(f"{file} holds more than its members", hint="use it for nothing")
    return infos


def _odd(info: ZipInfo) -> bool:
    """True for a name that leads elsewhere, and for all that is not a plain stored file."""
    name = info.filename.removeprefix(ARTEFACT)
    parts = name.split("/")
    stray = any(part in ("", ".", "..") for part in parts) or not name.isascii() or not name.isprintable()
    foreign = set(name) & set('\\:*?"<>|') or name == info.filename != HEAD
    kind = (info.external_attr >> 16, info.compress_type, info.flag_bits, info.compress_size)
    plain = (stat.S_IFREG | 0o644, ZIP_STORED, 0, info.file_size)
    return bool(stray or foreign or kind != plain or info.comment or Path(name).suffix not in SAFE)


def _head(zip_: ZipFile, infos: list[ZipInfo], file: Path) -> Bundle:
    if infos[0].file_size > LARGEST_HEAD:
        raise Invalid(f"{file} is no bundle: its {HEAD} is {infos[0].file_size:,} bytes")
    try:
        bundle = from_json(b"".join(_pieces(zip_, HEAD)), Bundle)
        parse_version(bundle.release.version)
    except (Invalid, RecursionError) as error:
        hint = "pip install --upgrade insource, if a newer version made it"
        raise Invalid(f"{file} has a {HEAD} that this version cannot read: {error}", hint=hint) from error
    if bundle.format != FORMAT:
        raise Invalid(f"{file} has form {bundle.format}, this version reads {FORMAT}", hint="pip install -U insource")
    mixed = bundle.release.task != bundle.task.name or bundle.gate.release != bundle.release.name
    if mixed or not set(bundle.release.left) <= set(LEFT):
        raise Refused(f"{file} mixes {bundle.release.name} with something else", hint="use it for nothing")
    evidence(bundle.release, [bundle.gate])
    return bundle


def _artefact_faults(zip_: ZipFile, bundle: Bundle) -> list[str]:
    """How the members differ from the artefact that the release names: by its manifest, whose digest it is known by."""
    data = b"".join(_pieces(zip_, ARTEFACT + MANIFEST)) if ARTEFACT + MANIFEST in bundle.members else b""
    if digest(data) != bundle.release.artefact:
        return [f"{MANIFEST} is not the one that was released"]
    manifest = from_json(data, Manifest)
    inside = {name.removeprefix(ARTEFACT): member.sha256 for name, member in bundle.members.items()}
    wanted = {name: sha for name, sha in manifest.files.items() if name not in bundle.release.left}
    inside.pop(MANIFEST)
    made, asked = manifest.task, bundle.task
    same = (made.name, made.kind, made.outputs, made.schema) == (asked.name, asked.kind, asked.outputs, asked.schema)
    if inside != wanted or not same or manifest.engine != bundle.release.engine:
        return [f"the files are not those of {bundle.release.name}"]
    return []


def _digest(zip_: ZipFile, info: ZipInfo) -> str:
    sha = hashlib.sha256()
    for piece in _pieces(zip_, info.filename):
        sha.update(piece)
    return sha.hexdigest()


def _pieces(zip_: ZipFile, name: str) -> Iterator[bytes]:
    try:
        with zip_.open(name) as source:
            while piece := source.read(PIECE):
                yield piece
    except (BadZipFile, EOFError, KeyError, RuntimeError, OSError) as error:
        raise Refused(f"{name} cannot be read out of the bundle: {error}", hint="copy it again") from error
