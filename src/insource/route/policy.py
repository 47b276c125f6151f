"""The rules. They look at values only, so every one of them can be read, tested and replayed."""

from insource.nouns import Attempt, Noun, Prediction, Risk

FAILED = {
    "length": "the answer was cut off before its end",
    "refusal": "the engine refused to answer",
    "invalid": "the answer breaks the task's contract",
}


class Choice(Noun, frozen=True, kw_only=True):
    """An engine, the task's "release" or a person ("review"): whether it may be asked, why (not), and by which rule."""

    engine: str
    allowed: bool
    reason: str
    rule: str = ""


def accept(prediction: Prediction, threshold: float | None) -> tuple[bool, str]:
    """Whether the answer may leave by itself, and the reason in words.

    It must be whole and valid, and its confidence must reach `threshold` (0 to 1). Where a confidence is demanded,
    an unknown one is not enough. With `threshold` None every valid answer is given.
    """
    if prediction.finish != "stop":
        return False, FAILED[prediction.finish]
    if prediction.value is None:
        return False, FAILED["invalid"]
    if threshold is None:
        return True, "valid, and no confidence is demanded"
    confidence = prediction.confidence
    if confidence is None:
        return False, f"{prediction.engine} gives no confidence, {threshold:.2f} is demanded"
    if confidence >= threshold:
        return True, "confidence {} reaches {}".format(*apart(confidence, threshold))
    return False, "confidence {} is below {}".format(*apart(confidence, threshold))


def in_form(attempt: Attempt) -> bool:
    """Whether the engine's answer kept the contract, told from a record as it is kept, which has no text."""
    said = attempt.prediction
    return said is not None and said.finish == "stop" and attempt.decision.reason != FAILED["invalid"]


def permitted(name: str, region: str | None, *sensitivities: str | tuple[str, ...]) -> Choice:
    """Whether an engine in `region` may be asked under every one of `sensitivities`; None is an engine unknown here.

    "premises" asks only engines on the premises, regions only engines there (or on the premises), "any" asks all. An
    engine whose region is unknown is asked only for "any".
    """
    if region is None:
        return Choice(engine=name, allowed=False, reason=f"{name} is not in insource.toml")
    said = "the task's text may go anywhere"
    for sensitivity in sensitivities:
        regions = (sensitivity,) if isinstance(sensitivity, str) else sensitivity
        if "any" in regions:
            continue
        if region != "premises" and (not region or region not in regions):
            where = f"is in {region}" if region else "has no region"
            reason = f"{name} {where}, the task's text stays within {', '.join(regions)}"
            return Choice(engine=name, allowed=False, reason=reason)
        said = f"{region} is where the task's text may go"
    return Choice(engine=name, allowed=True, reason=said)


def demanded(risk: Risk, fitted_for: float | None, fitted: float | None) -> float | None:
    """The confidence demanded now: set by hand, else fitted by training, None where every valid answer is given.

    `fitted` is the threshold at which an error of `fitted_for` held on the dev rows. When the task has another limit
    now, the calibrated confidence 1 - max_error is demanded, or the fitted one if it is higher and the limit lower.
    """
    if risk.threshold is not None:
        return risk.threshold
    if risk.max_error is None:
        return None
    if fitted is not None and fitted_for == risk.max_error:
        return fitted
    stricter = fitted is not None and fitted_for is not None and risk.max_error < fitted_for
    return max(1 - risk.max_error, fitted if stricter and fitted is not None else 0.0)


def promise(now: Risk, then: Risk, fitted: float | None, said: str) -> str:
    """What training promised in the words `said`, as long as the policy is the one it promised that for."""
    if (now.max_error, now.threshold) == (then.max_error, then.threshold):
        return said
    threshold = demanded(now, then.max_error, fitted)
    given = "every valid answer is given" if threshold is None else f"a confidence of {threshold:g} is demanded"
    return f"nothing is promised, for [risk] was changed since it was trained: {given}"


def apart(confidence: float, threshold: float) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to tell them apart, two at least."""
    for digits in (2, 3, 4, 6):
        said = f"{confidence:.{digits}f}", f"{threshold:.{digits}f}"
        if said[0] != said[1] or confidence == threshold:
            return said
    return repr(confidence), repr(threshold)
