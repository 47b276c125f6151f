"""Is an artefact on disk the one that was released? Reads the files; loads none of them."""

from collections.abc import Sequence
from pathlib import Path

from insource.engines.artefact import faults
from insource.errors import InsourceError


def damage(folder: Path, artefact: str, left: Sequence[str] = ()) -> list[str]:
    """Every way in which `folder` differs from the artefact of that SHA-256, in words; empty when it is whole.

    `left` names files that may be absent. A missing folder, an unreadable manifest and a kind of file we never write
    are damage too: nothing is raised.
    """
    try:
        return faults(folder, artefact, left)
    except InsourceError as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename or folder} cannot be read: {error.strerror}"]
