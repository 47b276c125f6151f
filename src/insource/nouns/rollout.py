"""How a new release comes to answer all traffic, and what two releases answered to the same call."""

from typing import Annotated

from msgspec import Meta

from insource.nouns.base import JsonObject, Noun

Days = Annotated[float, Meta(ge=0.0, le=365.0)]
Percent = Annotated[int, Meta(ge=1, le=100)]


class Rollout(Noun, frozen=True, kw_only=True):
    """`[rollout]` of a task's file: staging, then in the shadow of what is live, then a canary of some of the traffic.

    A release is in staging and in the shadow for so many days at least, and at each of the `canary` percentages for
    `canary_days`, until `min_calls` were answered by both. It goes on when it is not worse: its error above that of the
    live release by less than `max_worse`. It goes back when it is worse, fails oftener, or its median call takes more
    than `max_slower` times as long. Both are said with confidence 1 - `alpha`, at whatever moment one looks.
    With `auto` the gateway and `insource nightly` move it; without, they only say what is due. With `required` nobody
    may leave a stage out. `sample` is the share of the task's calls that both answer.
    """

    staging_days: Days = 14.0
    shadow_days: Days = 7.0
    canary: tuple[Percent, ...] = (10, 50, 100)
    canary_days: Days = 2.0
    min_calls: Annotated[int, Meta(ge=1, le=10_000_000)] = 200
    max_worse: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.02
    max_slower: Annotated[float, Meta(ge=1.0, le=1000.0)] = 1.5
    alpha: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.05
    sample: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    auto: bool = True
    required: bool = False


class Side(Noun, frozen=True, kw_only=True):
    """What one of two releases did with a call.

    `fault` is empty for a valid answer, else how it failed: "length", "refusal", "invalid", or an error's code.
    `accepted` says whether its confidence is enough to leave by itself. `value` holds labels of closed sets, none where
    it says that no label fits, and is None for any other task.
    """

    release: str
    fault: str = ""
    accepted: bool = False
    confidence: float | None = None
    value: JsonObject | None = None
    latency_ms: float = 0.0
    usd: float = 0.0


class Trial(Noun, frozen=True, kw_only=True):
    """One call that both the release on trial (`ours`) and the live one (`theirs`) answered.

    The caller got what the record `record` says; the other answered beside. `agrees` is None where one of them gave no
    valid answer.
    """

    record: str
    task: str
    ours: Side
    theirs: Side
    agrees: bool | None
    created: str = ""
