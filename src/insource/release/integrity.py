"""Is an artefact on disk the one that was released? Reads the files; loads none of them."""

from pathlib import Path

from insource.engines.artefact import faults
from insource.errors import InsourceError


def damage(folder: Path, artefact: str) -> list[str]:
    """Every way in which `folder` differs from the artefact of that SHA-256, in words; empty when it is whole.

    A missing folder, an unreadable manifest and a kind of file we never write are damage too: nothing is raised.
    """
    try:
        return faults(folder, artefact)
    except InsourceError as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename or folder} cannot be read: {error.strerror}"]
