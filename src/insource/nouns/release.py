"""A specialist with a version, and how it came to answer traffic."""

from typing import Literal

from insource.nouns.base import JsonObject, Noun

Stage = Literal["candidate", "staging", "shadow", "canary", "live", "retired"]


class Release(Noun, frozen=True, kw_only=True):
    """`task@version`. Every field but the names is the digest of something stored.

    `artefact` is the SHA-256 of the manifest (which lists the digest of every file); `folder` is where the files
    lie, relative to the state folder. `engine` says what serves it: "torch", "openvino", "llamacpp" or "linear".
    A canary answers `share` per cent of its task's calls.
    """

    task: str
    version: str
    engine: str
    base: str
    dataset: str
    recipe: str
    artefact: str
    folder: str
    changelog: str = ""
    report: str = ""
    stage: Stage = "candidate"
    share: int = 0
    approved_by: str = ""
    created: str = ""
    left: tuple[str, ...] = ()  # files of the artefact that stayed where it was made, when this came in a bundle

    @property
    def name(self) -> str:
        """The name callers use, for example `defects@1.2.0`."""
        return f"{self.task}@{self.version}"


class StageChange(Noun, frozen=True, kw_only=True):
    """One change of stage: who, when, why, on what evidence (a gate's report id or "").

    `share` is the canary's after it, in per cent; `found` are the figures on which it was decided without a person.
    """

    release: str
    before: Stage
    after: Stage
    who: str
    why: str
    evidence: str = ""
    created: str = ""
    share: int = 0
    found: JsonObject = {}


class Tightening(Noun, frozen=True, kw_only=True):
    """A higher confidence demanded of a release than it was fitted to: who, when, why, and the figures behind it.

    It holds as long as the task's `max_error` is the one it is for. `before` is what was demanded until then.
    """

    release: str
    threshold: float
    before: float
    max_error: float
    who: str
    why: str
    created: str = ""
    found: JsonObject = {}


NOT_APPLICABLE = "not applicable"


class Check(Noun, frozen=True, kw_only=True):
    """One line of a gate: what was demanded, what was found, and whether it holds."""

    name: str
    demanded: str
    found: str
    passed: bool
    detail: JsonObject = {}

    @property
    def applies(self) -> bool:
        """False where there was nothing to look at: such a check stops nothing, and shows nothing either."""
        return not self.found.startswith(NOT_APPLICABLE)


class Gate(Noun, frozen=True, kw_only=True):
    """A gate's answer on one artefact, by digest: it passed only if every check did."""

    release: str
    artefact: str
    checks: tuple[Check, ...]
    report: str
    created: str = ""

    @property
    def passed(self) -> bool:
        """True when every check holds and there is at least one."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def tally(self) -> str:
        """How many of its checks hold, in words; those that do not apply are counted apart."""
        asked = [check for check in self.checks if check.applies]
        left = len(self.checks) - len(asked)
        aside = f", {left} {'does' if left == 1 else 'do'} not apply" if left else ""
        return f"{sum(check.passed for check in asked)} of {len(asked)} checks hold{aside}"
