"""What a confined process can do: run by its test within the limits."""

from pathlib import Path

from insource.settings import inherited_environment


def start():
    return look


def look(_question):
    return {
        "secret": "HF_TOKEN" in inherited_environment(),
        "open": works(lambda: Path("/etc/passwd").read_bytes()),
        "write": works(lambda: Path("/tmp/insource-probe").write_bytes(b"x")),
        "memory": works(lambda: len(bytearray(400_000_000))),
    }


def works(action):
    try:
        action()
    except (OSError, MemoryError):
        return False
    return True
