"""What a release's answers must keep: the confidence of the whole, of each field, and whether the input is in scope.

Fitted when a path is opened, to the limits that the task's file has now, from what the release answered to the rows
held out of its training. So another limit needs no training, and nothing of the release changes.
"""

import math
from dataclasses import replace
from pathlib import Path as FilePath
from typing import NamedTuple

import msgspec

from insource.engines.artefact import Manifest
from insource.engines.held_out import SAYS_NOVELTY, HeldOut, read_held_out
from insource.journeys.answer import Path
from insource.nouns import Check, Release, Risk, Task, Tightening, digest
from insource.nouns.sections import RiskSettings
from insource.route import Scope, Terms, demanded
from insource.settings import Settings, load_task, task_file

OLD = "it was trained before answers to held out rows were kept; train it again"
MUTE = "llama.cpp does not say how strange a text is; --format openvino does"


class Agreed(NamedTuple):
    """The confidence demanded of the whole, the terms beside it, None without any, and what they promise in words."""

    threshold: float | None
    terms: Terms | None = None
    words: tuple[str, ...] = ()


def agreed(task: Task, risk: RiskSettings, manifest: Manifest, folder: FilePath) -> Agreed:
    """What is demanded of the release in `folder`; `task` is as it is served. Raises `Refused` for a changed file.

    Where `risk` has neither a limit of fields nor one of what is out of scope, nothing is read.
    """
    threshold = demanded(task.risk, manifest.task.risk.max_error, manifest.threshold)
    limits = risk.field_limits(task.fields)
    if not limits and not risk.out_of_scope:
        return Agreed(threshold)
    held = read_held_out(folder)
    words: list[str] = []
    fields: dict[str, float] = {}
    if limits:
        threshold, fields, said = _fields(task.risk, threshold, limits, held)
        words.append(said)
    scope = _scope(risk.out_of_scope, manifest, held)
    if risk.out_of_scope:
        words.append(_of_scope(risk.out_of_scope, scope, manifest, held))
    return Agreed(threshold, Terms(scope=scope, fields=fields), tuple(words))


def beyond(risk: Risk, threshold: float | None, said: Tightening | None) -> bool:
    """Whether more confidence is demanded of the release than `threshold`, since its promise was found broken.

    That was said of one limit; under another, or with a threshold by hand, it does not hold.
    """
    if said is None or threshold is None or risk.threshold is not None:
        return False
    return risk.max_error == said.max_error and said.threshold > threshold


def tightened(path: Path, said: Tightening | None) -> Path:
    """The path with the higher threshold that was put on record, where one was; never with a lower one."""
    if said is None or path.task is None or not beyond(path.task.risk, path.threshold, said):
        return path
    scope = digest([path.scope, said.threshold]) if path.scope else ""  # what was given below it is not given again
    return replace(path, threshold=said.threshold, scope=scope)


def terms_now(release: Release, manifest: Manifest, settings: Settings) -> tuple[str, ...]:
    """What the release promises of fields and of what is out of scope, under the task's file of today.

    Raises what `agreed` and `load_task` raise.
    """
    risk = task_file(settings, release.task)[1].risk
    task = msgspec.structs.replace(manifest.task, risk=load_task(settings, release.task).risk)
    return agreed(task, risk, manifest, settings.state / release.folder).words


def scope_check(risk: RiskSettings, manifest: Manifest, folder: FilePath) -> list[Check]:
    """The gate's check that what is out of scope can be told, at the false alarms allowed; none where none is asked."""
    if not risk.out_of_scope:
        return []
    held = read_held_out(folder)
    scope = _scope(risk.out_of_scope, manifest, held)
    missing = None if scope is None else scope.missing
    return [
        Check(
            name="out of scope",
            demanded=f"told, at most {risk.out_of_scope:.1%} false alarms",
            found=_of_scope(risk.out_of_scope, scope, manifest, held),
            passed=missing == 0,
            detail={"held_out": len(scope.held_out) if scope else 0, "missing": missing},
        )
    ]


def _scope(alarms: float, manifest: Manifest, held: HeldOut | None) -> Scope | None:
    if not alarms or held is None or not held.novelty or manifest.engine not in SAYS_NOVELTY:
        return None
    return Scope(held_out=tuple(sorted(held.novelty)), alarms=alarms)


def _of_scope(alarms: float, scope: Scope | None, manifest: Manifest, held: HeldOut | None) -> str:
    if scope is None:
        mute = "an engine that writes its answer does not say how strange a text is"
        why = OLD if held is None else MUTE if manifest.engine not in SAYS_NOVELTY else mute
        return f"what is out of scope cannot be told: {why}"
    rows = len(scope.held_out)
    if scope.missing:
        wanted = f"{scope.missing:,} more labelled dev rows are needed"
        rest = f"until then only what is stranger than each of {rows:,} is out of scope"
        return f"at most {alarms:.1%} false alarms cannot be promised yet: {wanted}; {rest}"
    return f"at most {alarms:.1%} of inputs like the {rows:,} rows held out are taken for out of scope"


def _fields(
    risk: Risk, threshold: float | None, limits: dict[str, float], held: HeldOut | None
) -> tuple[float | None, dict[str, float], str]:
    """The confidence demanded of the whole and of each field, and what it promises."""
    alone = {name: 1 - most for name, most in limits.items()}
    of = ", ".join(f"{name} {most:.1%}" for name, most in limits.items())
    if held is None:
        return threshold, alone, f"no error of a field is promised ({of}): {OLD}"
    from insource.stats import Limited, thresholds_for_risks

    parts = [Limited([_or_nan(c) for c in held.fields[n]], [bool(r) for r in held.fields_right[n]], most)
             for n, most in limits.items()]  # fmt: skip
    whole = risk.max_error is not None and risk.threshold is None
    if whole:
        parts.append(Limited(held.confidences, held.right, risk.max_error or 0.0))
    elif threshold is not None:  # by hand: the rows that reach it are those of which something is promised
        at = [i for i, sure in enumerate(held.confidences) if sure >= threshold]
        parts = [part.of(at) for part in parts]
    found, coverage, needed = thresholds_for_risks(parts)
    if found is None:
        what = f"{needed:,} more labelled dev rows are needed" if needed else "its surest values are wrong too often"
        return threshold, alone, f"no error of a field can be promised yet ({of}): {what}"
    said = f"at most so many values are wrong among the {coverage:.0%} given automatically ({of}; 95% confidence)"
    return (found[-1] if whole else threshold), dict(zip(limits, found, strict=False)), said


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
