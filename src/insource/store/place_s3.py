"""A place in a bucket, by the S3 API. Every connection, those for credentials too, is made by the way out.

Credentials come from where AWS's own tools look for them: the environment, ~/.aws, a web identity, single sign-on. Not
from the metadata of a machine or container, which is never called. What is written is written under the condition that
nothing is there (If-None-Match), where the server knows that.
"""

import base64
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from insource.errors import InsourceError, Missing, StoreError
from insource.nouns.artefacts import Artefacts
from insource.store.outward import Outward, destination_of
from insource.store.place import KEY, PIECE, changed, digest_in

PART = 32 << 20  # bytes; a larger file goes in parts of so many, 10,000 at most
READ = 1 << 16  # of an answer at once: less is lost when it breaks
TRIES, STALL_S, CONNECT_S = 5, 30.0, 5.0
METADATA = ("iam-role", "container-role")
GONE = {"404", "NoSuchKey", "NotFound"}
THERE, RACED = {"412", "PreconditionFailed"}, {"409", "ConditionalRequestConflict"}
UNKNOWN = {"NotImplemented", "501"}
DENIED = {"403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}


class Bucket:
    """The place s3://BUCKET/PREFIX. A server that says nothing for `stall_s` seconds is asked again, `tries` times."""

    def __init__(
        self, said: Artefacts, root: Path, outward: Outward, *, stall_s: float = STALL_S, tries: int = TRIES
    ) -> None:
        self.name = f"s3://{said.bucket}/{said.prefix}".rstrip("/")
        self._said, self._outward, self._stall_s, self._tries = said, outward, stall_s, tries
        self._ca = str(root / said.ca) if said.ca else None
        self._lock = threading.RLock()  # credentials may be asked for while the client is made
        self._made: Any = None

    def put(self, key: str, file: Path, *, again: bool = False) -> bool:
        """As `Place` says."""
        sha, there = digest_in(key), None if again else self._size(key)
        if there == file.stat().st_size:
            return False
        # what has another size than it should is damaged, and is put anew
        only = {} if again or there is not None else {"IfNoneMatch": "*"}
        with self._asking(key):
            return self._written(key, file, sha, only, self._tries)

    def get(self, key: str) -> Iterator[bytes]:
        """As `Place` says. A connection that breaks is taken up where it broke."""
        digest_in(key)
        have, tag, failures = 0, "", 0
        with self._asking(key):
            from botocore.exceptions import HTTPClientError, IncompleteReadError

            while True:
                try:
                    more = {"Range": f"bytes={have}-", "IfMatch": tag} if have else {}
                    answer = self._client.get_object(**self._at(key), **more)
                    tag = answer["ETag"]
                    for piece in answer["Body"].iter_chunks(READ):
                        have, failures = have + len(piece), 0
                        yield piece
                    return
                except (HTTPClientError, IncompleteReadError):
                    failures += 1
                    if failures >= self._tries:
                        raise
                    time.sleep(0.2 * 2**failures)

    def listed(self) -> dict[str, int]:
        """As `Place` says."""
        found: dict[str, int] = {}
        with self._asking(""):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._said.bucket, Prefix=self._said.prefix):
                for one in page.get("Contents", ()):
                    found[one["Key"].removeprefix(self._said.prefix)] = one["Size"]
        return {key: size for key, size in found.items() if KEY.fullmatch(key)}

    def remove(self, key: str) -> None:
        """As `Place` says."""
        digest_in(key)
        with self._asking(key):
            self._client.delete_object(**self._at(key))

    def _size(self, key: str) -> int | None:
        """The size of what is there; None for nothing, and for a server that does not say to whom may not list."""
        with self._asking(key):
            from botocore.exceptions import ClientError

            try:
                return int(self._client.head_object(**self._at(key))["ContentLength"])
            except ClientError as error:
                if _code(error) in GONE | DENIED:
                    return None
                raise

    def _written(self, key: str, file: Path, sha: str, only: dict[str, str], tries: int) -> bool:
        """Whether it was us who wrote it."""
        from botocore.exceptions import ClientError

        try:
            self._write(key, file, sha, only)
        except ClientError as error:
            code = _code(error)
            if only and code in THERE:
                return False  # somebody else was quicker, with the same bytes
            if only and code in UNKNOWN:
                return self._written(key, file, sha, {}, tries)
            if tries <= 1 or code not in RACED:
                raise
            return self._written(key, file, sha, only, tries - 1)
        return True

    def _write(self, key: str, file: Path, sha: str, only: dict[str, str]) -> None:
        with file.open("rb") as source:
            first = source.read(PART)
            if len(first) < PART:
                _must_be(hashlib.sha256(first), sha, file)
                said = base64.b64encode(bytes.fromhex(sha)).decode()
                more = {"ChecksumSHA256": said} if sha else {}
                self._client.put_object(**self._at(key), Body=first, **more, **only)
                return
            self._in_parts(key, file, sha, only, lambda: source.read(PART), first)

    def _in_parts(
        self, key: str, file: Path, sha: str, only: dict[str, str], more: Callable[[], bytes], piece: bytes
    ) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        upload = self._at(key) | {"UploadId": self._client.create_multipart_upload(**self._at(key))["UploadId"]}
        try:
            parts: list[dict[str, object]] = []
            taken = hashlib.sha256()
            while piece:
                taken.update(piece)
                answer = self._client.upload_part(**upload, PartNumber=len(parts) + 1, Body=piece)
                parts.append({"ETag": answer["ETag"], "PartNumber": len(parts) + 1})
                piece = more()
            _must_be(taken, sha, file)
            self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **only)
        except BaseException:
            with suppress(ClientError, BotoCoreError):  # what is left is nobody's: a rule of the bucket removes it
                self._client.abort_multipart_upload(**upload)
            raise

    def _sent(self, destination: str, count: int) -> None:
        with self._lock:
            self._outward.sent(destination, count)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._said.bucket, "Key": self._said.prefix + key}

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._opened()
            return self._made

    def _opened(self) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        session = Session()
        chain = session.get_component("credential_provider")
        for name in METADATA:
            chain.remove(name)
        # before every request of every client of this session: what answers here is not sent by the library
        session.register("before-send", _Sender(self._outward, self._ca, self._stall_s, self._sent).send)
        config = Config(
            s3={"addressing_style": "path" if self._said.path_style else "virtual"},
            retries={"mode": "standard", "total_max_attempts": self._tries},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return session.create_client(
            "s3", region_name=self._said.aws_region, endpoint_url=self._said.endpoint or None, config=config
        )

    @contextmanager
    def _asking(self, key: str) -> Iterator[None]:
        """Turns what the library and the server say into our errors, which never repeat a credential."""
        try:
            from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
        except ImportError as error:
            raise StoreError(
                "artefacts in a bucket need botocore, which is not installed", hint="pip install 'insource[s3]'"
            ) from error
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreError(
                f"there are no credentials for {self.name}",
                hint="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, or a web identity",
            ) from error
        except ClientError as error:
            raise self._refused(error, key) from error
        except BotoCoreError as error:
            why = error.kwargs.get("error", error)
            raise StoreError(
                f"{self.name} cannot be reached: {why}", hint="is the server up? [artefacts] of insource.toml names it"
            ) from error
        finally:
            with self._lock:
                self._outward.close()

    def _refused(self, error: Exception, key: str) -> InsourceError:
        code = _code(error)
        if code in GONE:
            return Missing(f"{key} is missing in {self.name}", hint="insource store push, on a host that has it")
        if code == "NoSuchBucket":
            return StoreError(
                f"there is no bucket for {self.name}", hint="make it, or name another as [artefacts] place"
            )
        if code in DENIED:
            return StoreError(
                f"{self.name} denies access{f' to {key}' if key else ''} ({code})",
                hint="its credentials must be let get, put and list below the prefix",
            )
        return StoreError(f"{self.name} answered {code}{f' for {key}' if key else ''}", hint="look at its own log")


class _Sender:
    """Sends the library's requests by connections that the way out makes."""

    def __init__(self, outward: Outward, ca: str | None, stall_s: float, sent: Callable[[str, int], None]) -> None:
        import urllib3

        try:
            trust = ssl.create_default_context(cafile=ca)
        except OSError as error:  # ssl.SSLError is one
            raise StoreError(f"the certificates {ca} cannot be read: {error.strerror}", hint="PEM") from error
        timeout = urllib3.Timeout(connect=CONNECT_S, read=stall_s)
        self._sent = sent
        self._lines = urllib3.PoolManager(ssl_context=trust, timeout=timeout, maxsize=16, blocksize=PIECE)
        self._lines.pool_classes_by_scheme = _pools(outward)

    def send(self, request: Any, **_: object) -> Any:
        """The answer to a request of the library, as it wants it."""
        import urllib3
        from botocore.awsrequest import AWSResponse
        from botocore.exceptions import HTTPClientError

        headers = {name: value for name, value in request.headers.items() if name.lower() != "expect"}
        try:
            answer = self._lines.urlopen(
                request.method,
                request.url,
                body=request.body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            made = AWSResponse(request.url, answer.status, answer.headers, answer)
            if not request.stream_output:
                _ = made.content
        except urllib3.exceptions.HTTPError as error:
            raise HTTPClientError(error=error) from error
        self._sent(destination_of(request.url), int(request.headers.get("Content-Length", 0)))
        return made


def _pools(outward: Outward) -> dict[str, Any]:
    """Pools of connections, plain and encrypted, that `outward` makes."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _dialled(self, outward)

    class Safe(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _dialled(self, outward)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SafePool(HTTPSConnectionPool):
        ConnectionCls = Safe

    return {"http": PlainPool, "https": SafePool}


def _dialled(line: Any, outward: Outward) -> socket.socket:
    from urllib3.exceptions import NewConnectionError

    host = line.host.strip("[]")
    destination = f"{f'[{host}]' if ':' in host else host}:{line.port}"
    try:
        return outward.connect(destination, (host, line.port), CONNECT_S)
    except OSError as error:
        raise NewConnectionError(line, f"{destination}: {error.strerror or error}") from error


def _code(error: Exception) -> str:
    """What the server called its refusal; "" for an error of another kind."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _must_be(taken: Any, sha: str, file: Path) -> None:
    if sha and taken.hexdigest() != sha:
        raise changed(file, sha)
