"""What was measured. A score without n and an interval cannot be built."""

from insource.nouns.base import JsonObject, Noun


class Score(Noun, frozen=True, kw_only=True):
    """A figure with its 95% interval and the number of rows behind it. `slice` is None for all rows."""

    metric: str
    slice: str | None = None
    value: float
    low: float
    high: float
    n: int


class Latency(Noun, frozen=True, kw_only=True):
    """Milliseconds per answer at the percentiles."""

    p50: float
    p95: float
    p99: float


class Failures(Noun, frozen=True, kw_only=True):
    """How many of `n` outputs broke the contract, and the upper 95% bound of the rate."""

    n: int
    invalid: int
    upper95: float


class Candidate(Noun, frozen=True, kw_only=True):
    """One candidate's results. `kind` is baseline, zero-shot, few-shot, specialist or remote.

    `details` carries the evidence the pictures are drawn from: confusions, reliability bins, the curve of
    accuracy against share answered, fields, examples of errors.
    """

    candidate: str
    kind: str
    scores: tuple[Score, ...]
    latency_ms: Latency
    usd_per_1k: float | None
    failures: Failures
    rows_per_s: float = 0.0
    fingerprint: str = ""
    details: JsonObject = {}

    def score(self, metric: str, slice: str | None = None) -> Score | None:
        """The score called `metric` on `slice`, None if it was not measured."""
        return next((s for s in self.scores if s.metric == metric and s.slice == slice), None)


class Pair(Noun, frozen=True, kw_only=True):
    """Two candidates on the same rows: `difference` is a minus b, with interval and p-value."""

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    n: int = 0
    a_only: int = 0
    b_only: int = 0


class Report(Noun, frozen=True, kw_only=True):
    """A measurement. Its id is the SHA-256 of its content; `code` names the version that measured.

    `failed` says why a candidate could not be measured; `rows` is a sample of rows where candidates differ, each with
    its input (cut), its target and every candidate's answer.
    """

    id: str = ""
    task: str
    dataset: str
    split: str
    candidates: tuple[Candidate, ...]
    pairs: tuple[Pair, ...] = ()
    acceptance: dict[str, float] = {}
    summary: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    rows: tuple[JsonObject, ...] = ()
    task_digest: str = ""
    code: str = ""
    machine: str = ""
    created: str = ""
