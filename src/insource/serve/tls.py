"""TLS, and callers that are known by their certificate."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from insource.errors import Invalid
from insource.serve.connection import Connection

PEER = "peer"  # where in a call's scope the common name of the client's certificate stands


def context(cert: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later with this certificate. With `client_ca` nobody connects without a certificate of that authority.

    Raises `Invalid` for a file that cannot be read or does not fit.
    """
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        made.load_cert_chain(cert, key, password=_no_password)
        if client_ca is not None:
            made.load_verify_locations(client_ca)
            made.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        files = ", ".join(str(file) for file in (cert, key, client_ca) if file)
        raise Invalid(f"no TLS with {files}: {error}", hint="PEM files, the key without a password") from error
    return made


def options(tls: ssl.SSLContext | None) -> dict[str, Any]:
    """What uvicorn is to be told."""
    if tls is None:
        return {"http": Connection}
    factory: Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext] = lambda *_: tls  # noqa: E731
    return {"ssl_context_factory": factory, "http": Known}


def common_name(certificate: dict[str, Any] | None) -> str:
    """The one common name of a certificate's subject; "" where there is none, or more than one."""
    parts = [part for parts in (certificate or {}).get("subject", ()) for part in parts]
    names = [str(value) for kind, value in parts if kind == "commonName"]
    return names[0] if len(names) == 1 else ""


class Known(Connection):
    """HTTP, with the client's common name in each call's scope."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        super().connection_made(transport)
        self.about[PEER] = common_name(transport.get_extra_info("peercert"))


def _no_password() -> str:
    """Nobody is at a server's terminal to type one."""
    raise ValueError("the key has a password")
