"""The error tree. Every failure the product speaks of is one of these; nothing else reaches a user.

    InsourceError
    ├─ Invalid         what you gave is wrong                     HTTP 422 · exit 2
    ├─ Missing         no such task, release, record, model       404 · 2
    ├─ Conflict        the state does not allow it                409 · 2
    ├─ Refused         a gate, `verify` or `--strict` said no     409 · 1
    ├─ Denied          key, role or network                       403 · 3
    │  ├─ Unauthorized no valid key                               401 · 3
    │  ├─ OverLimit    limit or budget (retryable)                429 · 3
    │  └─ Outside      an engine outside the allowed networks     403 · 3
    ├─ EngineError     the engine cannot answer this              502 · 4
    │  ├─ EngineBusy   full or rate-limited (retryable)           429 · 4
    │  ├─ EngineDown   unreachable or broken (retryable)          503 · 4
    │  └─ EngineSlow   ran out of time (retryable)                504 · 4
    ├─ OutputInvalid   what the engine said breaks the contract   502 · 4
    ├─ StoreError      disk, lock, migration                      503 · 4
    └─ ScanFailed      what scans texts is broken (retryable)     503 · 4

Foreign exceptions are translated only where they enter: `engines`, `store`, and file reading in `collect` and
`settings`. `status` and `exit_code` are the one table that maps a class to HTTP and to the shell.
"""


class InsourceError(Exception):
    """What went wrong (`str(error)`), what to do about it (`hint`), where (`at`), and whether a retry can help."""

    status = 500
    exit_code = 4
    retryable = False
    code = "internal_error"

    def __init__(self, message: str, *, hint: str = "", at: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.at = at


class Invalid(InsourceError):
    """What you gave is wrong."""

    status, exit_code, code = 422, 2, "invalid_request"


class Missing(InsourceError):
    """There is no such task, release, record or model."""

    status, exit_code, code = 404, 2, "not_found"


class Conflict(InsourceError):
    """The present state does not allow it."""

    status, exit_code, code = 409, 2, "conflict"


class Refused(InsourceError):
    """A gate, `verify` or `collect --strict` said no."""

    status, exit_code, code = 409, 1, "refused"


class Denied(InsourceError):
    """The caller may not."""

    status, exit_code, code = 403, 3, "permission_denied"


class Unauthorized(Denied):
    """There is no valid key with the call."""

    status, code = 401, "invalid_api_key"


class OverLimit(Denied):
    """A rate limit or a budget is used up. In `retry_s` whole seconds it may not be; None where waiting cannot help."""

    status, code, retryable = 429, "rate_limit_exceeded", True

    def __init__(self, message: str, *, hint: str = "", at: str = "", retry_s: int | None = 1) -> None:
        super().__init__(message, hint=hint, at=at)
        self.retry_s = retry_s
        self.retryable = retry_s is not None


class EngineError(InsourceError):
    """The engine cannot answer this call. `again_s`: after so many seconds another try may help; None: none would.

    That is about this very moment, before any word of an answer; `retryable` is about callers, later.
    """

    status, code = 502, "engine_error"

    def __init__(self, message: str, *, hint: str = "", at: str = "", again_s: float | None = None) -> None:
        super().__init__(message, hint=hint, at=at)
        self.again_s = again_s


class Outside(Denied, EngineError):
    """A connection would leave the networks it is held to. It was not made, so the engine cannot answer."""

    status, exit_code, code = 403, 3, "outside_networks"


class EngineBusy(EngineError):
    """The engine is full or limits our rate."""

    status, code, retryable = 429, "engine_busy", True


class EngineDown(EngineError):
    """The engine cannot be reached or is broken."""

    status, code, retryable = 503, "engine_down", True


class EngineSlow(EngineError):
    """The engine did not answer in time."""

    status, code, retryable = 504, "engine_timeout", True


class OutputInvalid(InsourceError):
    """What the engine said breaks the task's contract."""

    status, code = 502, "output_invalid"


class StoreError(InsourceError):
    """The disk, a lock or a migration failed."""

    status, code, retryable = 503, "store_unavailable", True


class ScanFailed(InsourceError):
    """What scans texts is broken, so nothing passes."""

    status, code, retryable = 503, "scan_failed", True
