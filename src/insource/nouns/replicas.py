"""The servers of one engine, by their addresses."""

from collections.abc import Sequence
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}


def replica_names(addresses: Sequence[str]) -> tuple[str, ...]:
    """HOST:PORT of each address, and its path unless that is /v1. Raises `ValueError` for one that is none, or twice.

    That is how a server is called in messages and metrics, and what no two of them may have in common.
    """
    names = tuple(map(_name, addresses))
    twice = next((name for at, name in enumerate(names) if name in names[:at]), "")
    if twice:
        raise ValueError(f"replicas names {twice} twice")
    return names


def _name(address: str) -> str:
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in PORTS or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("replicas must be http(s)://HOST[:PORT], each with its path, without user or password")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{f'[{host}]' if ':' in host else host}:{port or PORTS[parts.scheme]}{path}"
