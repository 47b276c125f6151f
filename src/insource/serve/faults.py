"""Every error as OpenAI's error body, with the status of our error tree."""

from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from insource.errors import EngineDown, InsourceError, OverLimit, Unauthorized
from insource.nouns import JsonObject, to_json, without_folders

RETRY_AFTER_S = "1"
MOST_PATH = 256  # characters of a path that are said again
NOT_KEPT = {"cache-control": "no-store"}  # what one caller may read is not kept for the next


class TooLarge(InsourceError):
    """The body is larger than `serve.max_body_bytes`."""

    status, exit_code, code = 413, 2, "request_too_large"


class Stopping(EngineDown):
    """The server waited for this call as long as it may."""

    code = "server_stopping"

    def __init__(self) -> None:
        super().__init__("the server is stopping and could not wait longer", hint="call again")


def error_body(error: InsourceError) -> JsonObject:
    """{"error": {message, type, param, code}}; the hint is part of the message, a file is named without its folders."""
    message = without_folders(f"{error}. {error.hint}" if error.hint else str(error))
    ours = "/" in error.at and not error.at.startswith("#")  # a file of this machine
    param = error.at if error.at and not ours else None
    return {"error": {"message": message, "type": kind(error.status), "param": param, "code": error.code}}


def error_response(error: InsourceError, headers: dict[str, str] | None = None) -> Response:
    """The error as an HTTP answer; what can be retried says when."""
    said = NOT_KEPT | (headers or {})
    if error.retryable:
        said["retry-after"] = str(error.retry_s) if isinstance(error, OverLimit) else RETRY_AFTER_S
    if isinstance(error, Unauthorized):
        said["www-authenticate"] = "Bearer"
    return Response(to_json(error_body(error)), error.status, said, "application/json")


def kind(status: int) -> str:
    """OpenAI's type of error."""
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


async def on_ours(http: HttpRequest, error: Exception) -> Response:
    """One of our errors."""
    ours = error if isinstance(error, InsourceError) else InsourceError("internal error")
    http.app.state.desk.seeing.refused(ours)
    return error_response(ours)


async def on_http(request: HttpRequest, error: Exception) -> Response:
    """No such route, or not by that method."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    path = str(request.scope["path"])[:MOST_PATH]
    other = "see /v1/models"
    if f"{path}/".startswith("/console/"):  # people's pages are mounted where one process alone serves
        other = "workers do not serve it: insource serve --workers 1 --port 8081, beside them, does"
    message = f"{request.method} {path} is not served here; {other}"
    code = "method_not_allowed" if status == 405 else "not_found"
    body = {"error": {"message": message, "type": kind(status), "param": None, "code": code}}
    return Response(to_json(body), status, headers, "application/json")


async def on_bug(http: HttpRequest, _: Exception) -> Response:
    """A fault of ours: the traceback goes to the log, not to the caller."""
    return await on_ours(http, InsourceError("internal error", hint="the server's log says more"))
