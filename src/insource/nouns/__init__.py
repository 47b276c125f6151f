"""The words of the product: frozen values that every room speaks. They do no I/O and import nothing above them."""

from insource.nouns.alert import Alert, Cause
from insource.nouns.alike import likeness, normal, same
from insource.nouns.base import (
    DEEPEST,
    JsonObject,
    JsonValue,
    Noun,
    canonical,
    depth_ok,
    digest,
    from_json,
    sha256_given,
    stamp,
    to_json,
)
from insource.nouns.example import Dataset, Example, Origin
from insource.nouns.finding import ACTIONS, KINDS, Action, Finding, Hit, Scan, ScanPolicy, scan_faults
from insource.nouns.key import Key, Limits, Role, key_id, key_text
from insource.nouns.model import Attention, Shape
from insource.nouns.networks import PREMISES, Networks, is_public
from insource.nouns.observe import Levels, Observe
from insource.nouns.prediction import CallPiece, Finish, Prediction, Usage
from insource.nouns.record import (
    CACHED,
    Attempt,
    Decision,
    Intent,
    Outcome,
    Pending,
    Record,
    Review,
    Verdict,
    record_id,
)
from insource.nouns.release import Check, Gate, Release, Stage, StageChange
from insource.nouns.report import Candidate, Failures, Latency, Pair, Report, Score
from insource.nouns.request import Message, Request, ask
from insource.nouns.rollout import Rollout, Side, Trial
from insource.nouns.task import Kind, Output, Risk, Route, Task, When
from insource.nouns.visible import visible

__all__ = [
    "ACTIONS",
    "CACHED",
    "DEEPEST",
    "KINDS",
    "PREMISES",
    "Action",
    "Alert",
    "Attempt",
    "Attention",
    "CallPiece",
    "Candidate",
    "Cause",
    "Check",
    "Dataset",
    "Decision",
    "Example",
    "Failures",
    "Finding",
    "Finish",
    "Gate",
    "Hit",
    "Intent",
    "JsonObject",
    "JsonValue",
    "Key",
    "Kind",
    "Latency",
    "Levels",
    "Limits",
    "Message",
    "Networks",
    "Noun",
    "Observe",
    "Origin",
    "Outcome",
    "Output",
    "Pair",
    "Pending",
    "Prediction",
    "Record",
    "Release",
    "Report",
    "Request",
    "Review",
    "Risk",
    "Role",
    "Rollout",
    "Route",
    "Scan",
    "ScanPolicy",
    "Score",
    "Shape",
    "Side",
    "Stage",
    "StageChange",
    "Task",
    "Trial",
    "Usage",
    "Verdict",
    "When",
    "ask",
    "canonical",
    "depth_ok",
    "digest",
    "from_json",
    "is_public",
    "key_id",
    "key_text",
    "likeness",
    "normal",
    "record_id",
    "same",
    "scan_faults",
    "sha256_given",
    "stamp",
    "to_json",
    "visible",
]
