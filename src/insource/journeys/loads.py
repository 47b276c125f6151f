"""Load tests that were run, kept beside the store: what one machine bears is a fact that prices and sizes rest on."""

from datetime import UTC, datetime
from pathlib import Path

from insource.measure.load import Load
from insource.nouns import digest, from_json, to_json
from insource.settings import Settings
from insource.store.files import disk, write_whole

FOLDER = "loads"


def keep(found: Load, settings: Settings) -> Path:
    """Writes the load into the state, under its time and the beginning of its SHA-256. Raises `StoreError`."""
    folder = settings.state / FOLDER / found.task
    when = datetime.fromisoformat(found.created) if found.created else datetime.now(UTC)
    path = folder / f"{when:%Y%m%dT%H%M%S}-{digest(found)[:12]}.json"
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_json(found).decode())
    return path


def newest(task: str, settings: Settings) -> Load | None:
    """The newest load of the task that a rate was found to hold in; None without one. Raises `Invalid` if damaged."""
    for path in sorted((settings.state / FOLDER / task).glob("*.json"), reverse=True):
        found = from_json(path.read_bytes(), Load)
        if borne(found) is not None:
            return found
    return None


def borne(found: Load) -> float | None:
    """Calls a second that were answered in time, all but 5% of them; None where no rate was."""
    return max((step.rate for step in found.steps if step.held), default=None) if found.held is None else (found.held)
