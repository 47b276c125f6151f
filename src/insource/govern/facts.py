"""What is known of a task and one of its releases: all that the documents are made of, and nothing that is not kept."""

from insource.engines.artefact import Manifest
from insource.nouns import (
    Candidate,
    Check,
    Dataset,
    Declaration,
    Gate,
    Governing,
    Levels,
    Noun,
    Release,
    Report,
    Reviewing,
    Rollout,
    StageChange,
    Task,
    Tightening,
)
from insource.nouns.sections import AuditSettings, RiskSettings
from insource.nouns.watching import Backups, Watching
from insource.store.checkpoints import Checkpoint
from insource.store.egress import Egress
from insource.store.verified import Verified

Counts = dict[str, dict[str, int]]


class Rows(Noun, frozen=True, kw_only=True):
    """What the rows of a dataset are, counted. `labels` is field → label → split → rows, `origins` origin → split.

    `in_groups` rows have a near-duplicate, in so many `groups`; `slices` counts the test rows by tag and value.
    In `replaced` rows a placeholder stands for something. `personal` is kind → rows of any split that hold it; None
    where the rows were not looked through, and `unscanned` says why. `straddling` groups stand on more than one side of
    a split.
    """

    labels: dict[str, Counts] = {}
    origins: Counts = {}
    groups: int = 0
    in_groups: int = 0
    straddling: int = 0
    slices: Counts = {}
    characters: tuple[int, int, int] = (0, 0, 0)  # median, 95th percentile, most
    personal: dict[str, int] | None = None
    replaced: int = 0
    unscanned: str = ""


class Place(Noun, frozen=True, kw_only=True):
    """Where an engine is, whether it may see a text of the task, and why (not)."""

    region: str
    allowed: bool
    reason: str


class Configured(Noun, frozen=True, kw_only=True):
    """What the task's file and insource.toml say of how it is run; each file by its SHA-256.

    Of the webhook only the host is here: its path may be a secret.
    """

    file: str
    workspace: str
    governing: Governing = Governing()
    risk: RiskSettings = RiskSettings()
    review: Reviewing = Reviewing()
    rollout: Rollout = Rollout()
    watch: Watching = Watching()
    levels: Levels = Levels()
    audit: AuditSettings = AuditSettings()
    backup: Backups = Backups()
    webhook_host: str = ""
    engines: dict[str, Place] = {}


class Base(Noun, frozen=True, kw_only=True):
    """What the catalogue says of a base model."""

    name: str
    license: str
    hub: str
    parameters: int
    about: str = ""


class Figure(Noun, frozen=True, kw_only=True):
    """A service level: milliseconds, or a share of calls. An end that so few calls say nothing about is None."""

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    target: float | None = None
    kept: bool | None = None


class Look(Noun, frozen=True, kw_only=True):
    """One look at the rolling holdout: the release asked, when, the report, and what it found in words."""

    release: str
    created: str
    report: str
    words: str


class Recorded(Noun, frozen=True, kw_only=True):
    """The audit chain as it is: every entry looked at. `checkpoint` is the last that was signed, `against` a fault."""

    verified: Verified
    checkpoint: Checkpoint | None = None
    against: str = ""


class Signature(Noun, frozen=True, kw_only=True):
    """The file of the key that signed the release, "" where none that is trusted did; `fault` says why not."""

    key: str = ""
    fault: str = ""


class Restored(Noun, frozen=True, kw_only=True):
    """A restore drill: of which backup, what was compared, how much was `wrong`, and what a loss would have cost."""

    at: str
    sha256: str
    records: int
    releases: int
    answers: int
    wrong: int
    upper95: float | None
    recovered_s: float
    lost_s: float


class Proved(Noun, frozen=True, kw_only=True):
    """The newest backup that was restored once, by its file's name and SHA-256, and how many such `count` there are."""

    name: str
    sha256: str
    count: int


class Served(Noun, frozen=True, kw_only=True):
    """What was served in the 30 days up to the newest call, and of it how many by outcome."""

    since: str
    until: str
    calls: int
    figures: tuple[Figure, ...] = ()
    outcomes: dict[str, int] = {}
    reviews: int = 0


class Facts(Noun, frozen=True, kw_only=True):
    """Everything there is. What is None or empty is not there, and what would stand on it is missing.

    `release` is the one that the documents are about, `live` what answers now, `before` what was live before that.
    `demanded` is the confidence at which the release answers by itself, as the task's file is now, `terms` what is
    promised beside it in words. `trained_s` are the seconds that training and its preparation took. `made` is every
    release of the task and when it was made, oldest first.
    """

    task: Task
    configured: Configured
    declared: tuple[Declaration, ...] = ()
    release: Release | None = None
    manifest: Manifest | None = None
    trained_s: tuple[float, float] | None = None
    base: Base | None = None
    dataset: Dataset | None = None
    rows: Rows | None = None
    gate: Gate | None = None
    report: Report | None = None
    changes: tuple[StageChange, ...] = ()
    tightened: Tightening | None = None
    demanded: float | None = None
    terms: tuple[str, ...] | None = None
    made: tuple[tuple[str, str], ...] = ()
    live: str = ""
    before: str = ""
    signature: Signature | None = None
    restored: Restored | None = None
    proved: Proved | None = None
    egress: tuple[Egress, ...] | None = None
    recorded: Recorded | None = None
    served: Served | None = None
    looks: tuple[Look, ...] = ()
    keys: dict[str, int] | None = None
    libraries: dict[str, str] = {}
    code: str = ""

    @property
    def about(self) -> str:
        """What the documents are about: a release, or a task that has none yet."""
        return self.release.name if self.release else self.task.name

    @property
    def candidate(self) -> Candidate | None:
        """What the report says of the release."""
        if self.report is None or self.release is None:
            return None
        return next((one for one in self.report.candidates if one.candidate == self.release.name), None)

    def check(self, name: str) -> Check | None:
        """The line of the gate called so."""
        return next((one for one in self.gate.checks if one.name == name), None) if self.gate else None
