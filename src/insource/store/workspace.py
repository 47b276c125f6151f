"""The files of a workspace that are no state: its settings, its tasks, and what these name."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from insource.nouns import JsonObject, JsonValue

CONFIG, TASKS = "insource.toml", "tasks"
LARGEST = 64_000_000  # bytes; lists of labels and terms are small
PRIVATE = b"PRIVATE KEY-----"


def workspace_files(root: Path) -> dict[str, Path]:
    """Place below `root` → file. What a key names is in it when it lies in the workspace; a private key never is.

    Settings and tasks may be links to elsewhere, as where a cluster mounts them: what is read as TOML is in it.
    """
    texts = [path for path in (root / CONFIG, *sorted((root / TASKS).glob("*.toml"))) if path.is_file()]
    named = [root / word for path in texts for word in _words(path)]
    found = {path.resolve().relative_to(root.resolve()).as_posix(): path for path in named if _ours(path, root)}
    found |= {path.relative_to(root).as_posix(): path for path in texts if _ours(path, root) or _is_settings(path)}
    return dict(sorted(found.items()))


def _words(path: Path) -> Iterator[str]:
    """Every text in a TOML file that could be a place; none where it cannot be read."""
    yield from _texts(_toml(path))


def _is_settings(path: Path) -> bool:
    """Whether a link leads to settings, and not to a secret that bears their name."""
    return bool(_toml(path)) and path.stat().st_size <= LARGEST and PRIVATE not in path.read_bytes()


def _toml(path: Path) -> JsonObject:
    """What a TOML file says; nothing where it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    elif isinstance(value, str) and 0 < len(value) < 256 and value.isprintable():
        yield value


def _ours(path: Path, root: Path) -> bool:
    """Whether it is a file of the workspace, and may be copied."""
    try:
        real = path.resolve()
        within = real.is_relative_to(root.resolve()) and not any(
            part.startswith(".") for part in real.relative_to(root.resolve()).parts
        )
        return within and real.is_file() and real.stat().st_size <= LARGEST and PRIVATE not in real.read_bytes()
    except OSError:
        return False
