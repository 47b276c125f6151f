"""Model files from the Hugging Face hub or one that speaks its API (HF_ENDPOINT).

The revision is resolved to a commit first, so that all files are of one state; of a repository only configuration,
tokenizer and safetensors (or one .gguf) are taken, never code or pickles. What the hub's own cache on this disk already
holds is used where it lies. HF_TOKEN opens gated models.

Source: the hub API as huggingface_hub speaks it: `/api/models/REPO/revision/REV?blobs=true` and
`/REPO/resolve/COMMIT/FILE`.
"""

import re
from pathlib import Path
from urllib.parse import quote

import msgspec

from insource.engines.outward import Outward
from insource.engines.sources import Hub, Progress
from insource.engines.sources_check import SAFE_INSTEAD, check_size
from insource.engines.sources_http import Patience, Want, download, get_json, room_for
from insource.errors import EngineDown, Invalid, Missing, Refused
from insource.settings import ModelHosts, secret

BESIDE = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
BESIDE |= {"special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "model.safetensors.index.json"}
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}", re.ASCII)
PART = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
COMMIT = re.compile(r"[0-9a-f]{40}")


class _Lfs(msgspec.Struct, frozen=True):
    sha256: str = ""
    size: int = 0


class _Sibling(msgspec.Struct, frozen=True):
    rfilename: str
    size: int | None = None
    lfs: _Lfs | None = None


class _Repository(msgspec.Struct, frozen=True):
    sha: str
    siblings: tuple[_Sibling, ...] = ()


def fetch_hub(
    origin: Hub,
    folder: Path,
    progress: Progress,
    hosts: ModelHosts,
    patience: Patience = Patience(),  # noqa: B008 - frozen
    outward: Outward | None = None,
) -> Path:
    """The .gguf, or the folder of safetensors, of `origin`: in the hub's own cache, else fetched into `folder`.

    Raises `Missing`, `Denied`, `Refused`, `StoreError` and `EngineDown`.
    """
    kept = _in_hub_cache(origin, hosts.hub_cache)
    if kept is not None:
        return kept
    if hosts.offline:
        raise Missing(f"hf:{origin.repository} is not on this disk, and HF_HUB_OFFLINE is set", hint="unset it")
    key = secret("HF_TOKEN")
    page = f"{hosts.hub}/api/models/{origin.repository}/revision/{quote(origin.revision, safe='')}?blobs=true"
    repository: _Repository = get_json(Want(url=page, key=key), _Repository, patience, outward=outward)
    if not COMMIT.fullmatch(repository.sha):
        raise EngineDown(f"{hosts.hub} named no commit for {origin.repository}@{origin.revision}")
    files = _chosen(origin, repository)
    for file in files:
        if file.rfilename in BESIDE:
            check_size(file.rfilename, file.size or 0)
    room_for(folder, sum(file.size or 0 for file in files if not (folder / file.rfilename).exists()))
    for file in files:
        target = folder / file.rfilename
        url = f"{hosts.hub}/{origin.repository}/resolve/{repository.sha}/{quote(file.rfilename)}"
        want = Want(url=url, sha256=file.lfs.sha256 if file.lfs else "", bytes=file.size or 0, key=key)
        if not target.exists():
            download(want, target, progress, patience, outward)
    weights = [file for file in files if file.rfilename.endswith(".gguf")]
    return folder / weights[0].rfilename if weights else folder


def _chosen(origin: Hub, repository: _Repository) -> list[_Sibling]:
    """The files to take: one .gguf if asked for or if there are no safetensors, else configuration and safetensors."""
    names = {file.rfilename: file for file in repository.siblings if SAFE_NAME.fullmatch(file.rfilename)}
    ggufs = [name for name in names if name.lower().endswith(".gguf")]
    safe = [name for name in names if name.endswith(".safetensors")]
    if origin.file:
        if origin.file not in ggufs:
            raise Missing(
                f"{origin.repository} has no file {origin.file!r}", hint=f"it has: {_few(ggufs or list(names))}"
            )
        return [names[origin.file]]
    if safe:
        parts = [name for name in safe if PART.fullmatch(name)]  # some add the same weights in one file, for others
        whole = ["model.safetensors"] if "model.safetensors" in safe else parts or safe
        return [names[name] for name in sorted(BESIDE & names.keys()) + sorted(whole)]
    if len(ggufs) == 1:
        return [names[ggufs[0]]]
    if ggufs:
        raise Invalid(f"{origin.repository} has {len(ggufs)} .gguf files", hint=f"add one: :FILE of {_few(ggufs)}")
    raise Refused(f"{origin.repository} has neither safetensors nor .gguf: {_few(list(names))}", hint=SAFE_INSTEAD)


def _few(names: list[str]) -> str:
    return ", ".join(sorted(names)[:6]) or "nothing at its top level"


def _in_hub_cache(origin: Hub, cache: Path) -> Path | None:
    """The snapshot (or the .gguf in it) that other tools have fetched already, if it is complete."""
    home = cache / f"models--{origin.repository.replace('/', '--')}"
    commit = origin.revision
    if not COMMIT.fullmatch(commit):
        ref = home / "refs" / origin.revision
        commit = ref.read_text("utf-8").strip() if ref.is_file() else ""
    snapshot = home / "snapshots" / commit
    if not COMMIT.fullmatch(commit) or not snapshot.is_dir():
        return None
    if origin.file:
        return (
            snapshot / origin.file if SAFE_NAME.fullmatch(origin.file) and (snapshot / origin.file).exists() else None
        )
    needed = ("config.json", "tokenizer.json", "model.safetensors")
    return snapshot if all((snapshot / name).exists() for name in needed) else None
