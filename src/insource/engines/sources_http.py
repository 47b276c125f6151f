"""One file over HTTP, whole or not at all: resumed where it stopped, checked before it gets its name.

Bytes go to NAME.part beside the target, with what identifies them in NAME.part.json. A resumed transfer asks for the
rest only if the server still has the same file (Range with If-Range, RFC 9110 sections 13.1.5 and 14). An
interruption of any kind leaves the .part to be resumed. A key is sent to the first host only, never after a redirect
to another.
"""

import http.client
import math
import random
import shutil
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec

from insource.engines.artefact import file_digest
from insource.engines.outward import Outward
from insource.engines.outward_urllib import handlers
from insource.engines.sources import Progress
from insource.errors import Denied, EngineDown, InsourceError, Missing, Refused, StoreError
from insource.nouns import Noun, to_json
from insource.store.files import FULL

MEGABYTE = 1_000_000
PIECE = 1 << 18
SPARE = 64 * MEGABYTE
PASSING = {408, 425, 429, 500, 502, 503, 504}


class Patience(Noun, frozen=True, kw_only=True):
    """How long a silent server is waited for, how often a broken transfer is taken up again, and how soon."""

    stall_s: float = 30.0
    tries: int = 5
    pause_s: float = 1.0
    longest_pause_s: float = 60.0


class Want(Noun, frozen=True, kw_only=True):
    """A file to fetch; `sha256` and `bytes` where known. `key` goes to the host of `url` as a bearer token."""

    url: str
    sha256: str = ""
    bytes: int = 0
    key: str = ""


class _Partial(Noun, frozen=True, kw_only=True):
    url: str
    etag: str = ""
    total: int = 0


class _Broken(Exception):
    """A fault that may pass. `pause_s` is the pause the server asked for; `over`: what is here is of no use."""

    def __init__(self, words: str, *, pause_s: float = 0.0, over: bool = False) -> None:
        super().__init__(words)
        self.pause_s, self.over = pause_s, over


class Meter:
    """Progress in whole megabytes that never goes backwards, whatever is fetched twice."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._what, self._most, self._total = progress, f"{what} (MB)", -1, 0

    def at(self, done: int, total: int) -> None:
        """`done` bytes of `total` (0 = unknown) are here."""
        self._total = max(self._total, math.ceil(total / MEGABYTE))
        if done // MEGABYTE > self._most or (total and done == total):
            whole = self._total if total and done == total else done // MEGABYTE
            self._most = max(self._most, whole)
            self._progress(self._what, self._most, self._total)

    def say(self, words: str) -> None:
        """A word on the way, at the mark already reached."""
        self._progress(f"{self._what}: {words}", max(self._most, 0), self._total)


def room_for(folder: Path, wanted: int) -> None:
    """Raises `StoreError` when the disk of `folder` has less than `wanted` bytes and a little more free."""
    free = shutil.disk_usage(folder).free
    if free < wanted + SPARE:
        words = f"{folder} needs {(wanted + SPARE) / 1e9:.2f} GB free and has {free / 1e9:.2f} GB"
        raise StoreError(words, hint="free some space, or set INSOURCE_CACHE to a folder on another disk")


def disk_fault(error: OSError, path: Path) -> InsourceError:
    """Our error for what the disk said."""
    full = error.errno in FULL
    hint = "free some space, or set INSOURCE_CACHE to a folder on another disk; then the same command goes on"
    return StoreError(f"{path}: {error.strerror}", hint=hint if full else "")


def download(
    want: Want,
    target: Path,
    progress: Progress,
    patience: Patience = Patience(),  # noqa: B008 - frozen
    outward: Outward | None = None,
) -> None:
    """Fetches `want` to `target`, which appears only when it is whole and its SHA-256 is right.

    Raises `Outside` (an address that is not called), `Missing` (404), `Denied` (401, 403), `Refused` (wrong content),
    `StoreError` (disk) and `EngineDown` when the server stays broken after `patience`.
    """
    part = target.with_name(target.name + ".part")
    meter = Meter(progress, f"fetch {target.name}")
    failures = 0
    while True:
        before = _size(part)
        try:
            _attempt(want, part, meter, patience, outward)
            break
        except _Broken as fault:
            if fault.over:
                part.unlink(missing_ok=True)
            failures = 1 if _size(part) >= before + PIECE else failures + 1
            if failures >= patience.tries:
                words = f"{_host(want.url)} stayed broken after {failures} tries: {fault}"
                raise EngineDown(words, hint="what arrived is kept; the same command goes on from there") from fault
            meter.say(f"retrying ({failures + 1}/{patience.tries})")
            grown = patience.pause_s * 2 ** (failures - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            time.sleep(min(max(grown, fault.pause_s), patience.longest_pause_s))
    _name(want, part, target)


def get_json(
    want: Want,
    kind: type[Any],
    patience: Patience = Patience(),  # noqa: B008 - frozen
    accept: str = "",
    outward: Outward | None = None,
) -> Any:
    """The JSON document at a small URL (64 MB at most), as `kind`. Raises like `download`."""
    failures = 0
    while True:
        try:
            with _open(want, {"Accept": accept or "application/json"}, patience, outward) as answer:
                return msgspec.json.decode(answer.read(64 * MEGABYTE), type=kind)
        except (_Broken, OSError, http.client.HTTPException) as fault:
            failures += 1
            if failures >= patience.tries:
                raise EngineDown(f"{_host(want.url)} cannot be reached: {fault}") from fault
            time.sleep(min(patience.pause_s * 2 ** (failures - 1), patience.longest_pause_s))
        except (msgspec.DecodeError, UnicodeError) as error:
            raise EngineDown(f"{_host(want.url)} did not answer in the form asked for: {error}") from error


def _attempt(want: Want, part: Path, meter: Meter, patience: Patience, outward: Outward | None) -> None:
    """One transfer, from where the last one stopped. Returns when the .part is whole."""
    have, note = _resumable(want, part)
    headers = {"Range": f"bytes={have}-", **({"If-Range": note.etag} if note.etag else {})} if have else {}
    if have and have == note.total:
        return
    try:
        with _open(want, headers, patience, outward) as answer:
            if answer.status == 206 and not (have and _continues(answer.headers, have, note)):
                raise _Broken("the server sent another part of the file than was asked for", over=True)
            have = have if answer.status == 206 else 0
            total = have + _count(answer.headers.get("Content-Length", ""))
            _admit(want, part, total, have)
            etag = answer.headers.get("ETag") or ""
            kept = _Partial(url=want.url, etag="" if etag.startswith("W/") else etag, total=total)
            _note(part).write_bytes(to_json(kept))
            _receive(answer, part, (have, total), meter)
    except urllib.error.URLError as error:
        raise _Broken(str(error.reason)) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _Broken(str(error) or type(error).__name__) from error
    except OSError as error:
        raise disk_fault(error, part) from error


def _count(said: str) -> int:
    """A count as a server says it; 0 for none, and for what is no number."""
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 20 else 0


def _receive(answer: IO[bytes], part: Path, span: tuple[int, int], meter: Meter) -> None:
    have, total = span
    with part.open("ab" if have else "wb") as file:
        meter.at(have, total)
        while piece := answer.read(PIECE):
            file.write(piece)
            have += len(piece)
            if total and have > total:
                raise Refused(f"{part.name}: more bytes than the {total} promised")
            meter.at(have, total)
    if total and have < total:
        raise _Broken(f"the connection ended at byte {have:,} of {total:,}")


def _admit(want: Want, part: Path, total: int, have: int) -> None:
    if want.bytes and total and total != want.bytes:
        raise Refused(f"{want.url} has {total:,} bytes, {want.bytes:,} are published", hint="the file is another one")
    room_for(part.parent, (total or want.bytes) - have)


def _resumable(want: Want, part: Path) -> tuple[int, _Partial]:
    """How many bytes can be built upon: those of the same URL that an ETag or a known digest vouches for."""
    try:
        note = msgspec.json.decode(_note(part).read_bytes(), type=_Partial)
    except (OSError, msgspec.DecodeError):
        return 0, _Partial(url=want.url)
    same = note.url == want.url and bool(note.etag or want.sha256)
    return (_size(part), note) if same else (0, _Partial(url=want.url))


def _continues(headers: Message, have: int, note: _Partial) -> bool:
    said = headers.get("Content-Range", "")
    right = said.startswith(f"bytes {have}-") and (not note.total or said.endswith((f"/{note.total}", "/*")))
    return right and (not note.etag or headers.get("ETag") in (note.etag, None))


def _name(want: Want, part: Path, target: Path) -> None:
    """Checks the digest and gives the file its name; a wrong one is thrown away, for it cannot be mended."""
    if want.sha256 and (found := file_digest(part)) != want.sha256:
        part.unlink()
        _note(part).unlink(missing_ok=True)
        words = f"{target.name} from {_host(want.url)} has SHA-256 {found}, published is {want.sha256}"
        raise Refused(words, hint="it was thrown away; try again, and do not use the file if it happens twice")
    part.replace(target)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but leaves the key behind when the host changes and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """The next request of the chain, or None to stop there."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https"):
            raise Refused(f"{old.hostname} sends on to an address of {new.scheme!r}", hint="nothing was fetched")
        if old.scheme == "https" and new.scheme != "https":
            raise Refused(f"{old.hostname} sends on to an unencrypted address", hint="nothing was fetched")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if following is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            following.remove_header("Authorization")
        return following


def _open(want: Want, headers: dict[str, str], patience: Patience, outward: Outward | None) -> Any:
    """The opened answer (200 or 206). Raises `Missing`, `Denied`, `_Broken` by status."""
    if not want.url.lower().startswith(("http://", "https://")):
        raise Refused(f"{want.url} is not an http address")
    opener = urllib.request.OpenerDirector()
    kinds = (urllib.request.ProxyHandler, _Redirects, urllib.request.HTTPErrorProcessor)
    for kind in (*kinds, urllib.request.HTTPDefaultErrorHandler):
        opener.add_handler(kind())
    for handler in handlers(outward or Outward("model download")):
        opener.add_handler(handler)
    key = {"Authorization": f"Bearer {want.key}"} if want.key else {}
    sent = {"Accept-Encoding": "identity", "User-Agent": "insource", **headers, **key}
    try:
        return opener.open(urllib.request.Request(want.url, headers=sent), timeout=patience.stall_s)  # noqa: S310 - checked
    except urllib.error.HTTPError as error:
        with error:
            raise _by_status(want, error) from error
    except ValueError as error:
        raise Refused(f"{_host(want.url)} sends on to no address", hint="nothing was fetched") from error


def _by_status(want: Want, error: urllib.error.HTTPError) -> Exception:
    host = _host(want.url)
    if error.code in (404, 410):
        return Missing(f"{host} has no {urlsplit(want.url).path}", hint="check the name and the version")
    if error.code in (401, 403):
        return Denied(f"{host} does not give out {urlsplit(want.url).path}", hint="a gated model needs HF_TOKEN set")
    if error.code in PASSING or error.code == 416:
        after = error.headers.get("Retry-After", "")
        return _Broken(f"HTTP {error.code}", pause_s=float(_count(after)), over=error.code == 416)
    return EngineDown(f"{host} answered HTTP {error.code} for {urlsplit(want.url).path}")
