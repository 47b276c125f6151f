"""What a kept record tells of its call: the status the caller got, and what came of each engine that was asked."""

from functools import cache

from insource.errors import InsourceError
from insource.journeys.answer import STOPPED
from insource.journeys.relay import LEFT
from insource.nouns import CACHED, Attempt, Record
from insource.route import in_form

GONE = {STOPPED: 503, LEFT: 499}  # nobody was there to be told; 499 is what nginx calls a client that left


def status_of(record: Record) -> int:
    """The HTTP status of the call. A stream that broke off in the middle had begun as 200."""
    if record.outcome in ("answered", "escalated", "out_of_scope"):
        return 200
    if record.outcome == "review":
        return 200 if any(in_form(attempt) for attempt in record.attempts) else 502
    reason = record.attempts[-1].decision.reason if record.attempts else ""
    return GONE.get(reason) or statuses().get(reason, 500)


def result_of(attempt: Attempt) -> str:
    """accepted, unsure, out_of_scope, failed, cached, or the finish of what is no answer: length, refusal, invalid."""
    if attempt.decision.rule == CACHED and attempt.prediction is not None:
        return "cached"
    if attempt.decision.accepted:
        return "accepted"
    if attempt.prediction is None:
        return "failed"
    if not in_form(attempt):
        return "invalid" if attempt.prediction.finish == "stop" else attempt.prediction.finish
    return "out_of_scope" if attempt.decision.code == "out_of_scope" else "unsure"


@cache
def statuses() -> dict[str, int]:
    """Code of an error → its status."""
    kinds: list[type[InsourceError]] = [InsourceError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.code: kind.status for kind in kinds}
