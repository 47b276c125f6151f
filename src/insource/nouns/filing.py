"""Files that callers send, and batches of calls over them, as OpenAI's API has them."""

import secrets
from typing import Literal

from insource.nouns.base import Noun

BatchStatus = Literal[
    "validating", "in_progress", "finalizing", "completed", "failed", "cancelling", "cancelled", "expired"
]
UNDER_WAY: tuple[BatchStatus, ...] = ("validating", "in_progress", "finalizing", "cancelling")
Purpose = Literal["batch", "batch_output"]


class StoredFile(Noun, frozen=True, kw_only=True):
    """A file of a tenant: `sha` names its bytes among the blobs. `created` is in seconds since 1970."""

    id: str
    tenant: str
    name: str
    purpose: Purpose
    size: int
    sha: str
    created: int


class LineFault(Noun, frozen=True, kw_only=True):
    """Why a batch could not begin; `line` from 1, None where it is about the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class CallBatch(Noun, frozen=True, kw_only=True):
    """Calls of a file, asked beside the live ones for the key `key` of `tenant`, within 24 hours.

    `at` says when it came to which status, in seconds since 1970. `total`, `completed` and `failed` count its lines.
    """

    id: str
    tenant: str
    key: str
    endpoint: str
    input: str
    created: int
    expires: int
    status: BatchStatus = "validating"
    metadata: dict[str, str] | None = None
    at: dict[str, int] = {}
    total: int = 0
    completed: int = 0
    failed: int = 0
    output: str | None = None
    errors_file: str | None = None
    faults: tuple[LineFault, ...] = ()


def name_of(kind: str) -> str:
    """A name that nobody can guess: `kind`, then 24 hex digits."""
    return f"{kind}{secrets.token_hex(12)}"
