"""Where the files of releases and rows lie that several hosts share."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from insource.nouns.base import Noun
from insource.nouns.networks import PREMISES

BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_=][A-Za-z0-9._=-]*)*)/?")


class Artefacts(Noun, frozen=True, kw_only=True):
    """`[artefacts]`: `place` is a folder, from the workspace, or s3://BUCKET/PREFIX; empty: they stay on this host.

    For S3, `endpoint` is the server's address (empty: that of AWS), `aws_region` what requests are signed for,
    `path_style` whether the bucket stands in the path or in the host's name, `ca` a file of certificates (PEM), from
    the workspace, that alone are trusted. `region` is where the data goes: connections are held to its networks, and no
    task may be stricter. An http address, which anyone on the way can read, takes "premises". No credential is written
    here.
    """

    place: Annotated[str, Meta(max_length=1024)] = ""
    endpoint: Annotated[str, Meta(pattern=r"^(https?://[^\s/@?#]+/?)?$")] = ""
    region: str = PREMISES
    aws_region: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}$")] = "us-east-1"
    path_style: bool = True
    ca: str = ""

    def __post_init__(self) -> None:
        if "://" in self.place and not BUCKET.fullmatch(self.place):
            raise ValueError(
                "artefacts.place is neither a folder nor s3://BUCKET/PREFIX; credentials never stand there"
            )
        if self.endpoint.startswith("http:") and self.region != PREMISES:
            raise ValueError('an http endpoint takes region = "premises": anyone on the way can read it')

    @property
    def bucket(self) -> str:
        """The bucket's name; "" where the place is a folder, or none."""
        return urlsplit(self.place).netloc if self.place.startswith("s3://") else ""

    @property
    def prefix(self) -> str:
        """What stands before every key of the bucket: empty, or ending in a slash."""
        found = urlsplit(self.place).path.strip("/") if self.bucket else ""
        return f"{found}/" if found else ""
