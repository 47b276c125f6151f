"""How a task is watched, who hears of it, and what is kept against the loss of the disk."""

from typing import Annotated, Literal

from msgspec import Meta

from insource.nouns.base import Noun

Days = Annotated[int, Meta(ge=0, le=3_650)]


class Watching(Noun, frozen=True, kw_only=True):
    """`[watch]` of a task's file: how often it is retrained, and what is asked again to see whether it still holds.

    Every `holdout_days` (0: never) the live release answers what people looked at in the `holdout_window` days before,
    the newest `holdout_rows` of it. Each night every engine that the task routes to answers the same `pinned_rows` rows
    of the test split (0: none), for `pinned_usd` US dollars at most.
    """

    retrain: Literal["monthly", "quarterly", "annual"] = "quarterly"
    holdout_days: Days = 7
    holdout_window: Annotated[int, Meta(ge=1, le=3_650)] = 90
    holdout_rows: Annotated[int, Meta(ge=20, le=100_000)] = 500
    pinned_rows: Annotated[int, Meta(ge=0, le=10_000)] = 50
    pinned_usd: Annotated[float, Meta(ge=0, le=1e6)] = 0.25


class Alerting(Noun, frozen=True, kw_only=True):
    """`[alerts]`: the address that hears of alerts, besides the log and the metrics; empty: none.

    `region` holds the connection to that region's networks. An http address, which anyone on the way can read, takes
    "premises". `headers_env` names the environment variable with secret headers, "name=value,name=value".
    """

    webhook: Annotated[str, Meta(pattern=r"^(https?://[^\s/@?#]+[^\s@]*)?$")] = ""
    region: str = ""
    headers_env: str = ""

    def __post_init__(self) -> None:
        if self.webhook.startswith("http:") and self.region != "premises":
            raise ValueError('an http webhook takes region = "premises": anyone on the way can read it')


class Backups(Noun, frozen=True, kw_only=True):
    """`[backup]`: the newest `keep` are kept in `folder`, from the workspace (empty: `.insource/backups`).

    One is made every `days`; with `keep` 0 none is.
    """

    folder: str = ""
    keep: Annotated[int, Meta(ge=0, le=1_000)] = 3
    days: Annotated[int, Meta(ge=1, le=366)] = 1
