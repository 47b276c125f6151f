"""What an answer must keep beside the confidence of the whole: within the task's scope, and sure enough field by field.

Whether an input is strange is told as conformal p-values are (Vovk, Gammerman & Shafer 2005; Bates et al. 2023,
doi:10.1214/22-AOS2244): the share of rows held out that are at least as strange, the input itself counted in. Of inputs
like these rows at most a share `alarms` gets a p-value of `alarms` or less, be they as few as they may.
"""

import math
from bisect import bisect_left

from msgspec import UNSET
from msgspec.structs import replace

from insource.nouns import Decision, Noun, Prediction
from insource.route.policy import apart

STRANGE = "out of scope"


class Scope(Noun, frozen=True, kw_only=True):
    """How strange the rows held out are, ascending, and the share of `alarms` allowed among inputs like them.

    Where the rows are too few for that share, only what is stranger than every one of them is out of scope.
    """

    held_out: tuple[float, ...]
    alarms: float

    @property
    def limit(self) -> float:
        """The p-value at or below which an input is out of scope."""
        return max(self.alarms, 1 / (len(self.held_out) + 1))

    @property
    def missing(self) -> int:
        """How many more rows must be held out before the share of false alarms can be promised; 0 when it can."""
        return max(0, math.ceil(1 / self.alarms - 1e-9) - 1 - len(self.held_out))

    def as_strange(self, novelty: float) -> float:
        """The p-value of an input: the share of rows as strange as it is, itself among them."""
        rows = len(self.held_out)
        return (rows - bisect_left(self.held_out, novelty) + 1) / (rows + 1)


class Terms(Noun, frozen=True, kw_only=True):
    """What is demanded of one engine's answers: `fields` are the confidences demanded of fields, 0 to 1."""

    scope: Scope | None = None
    fields: dict[str, float] = {}


def within(decision: Decision, prediction: Prediction, terms: Terms) -> Decision:
    """The decision on an answer, made stricter by the terms; never laxer.

    An input that is out of scope has no right answer, so that comes first. An engine that does not say how strange an
    input is, or how sure it is of a field, is not believed.
    """
    if prediction.value is None or prediction.finish != "stop":
        return decision
    if terms.scope is not None:
        if prediction.novelty is UNSET:
            return replace(
                decision, accepted=False, reason=f"{prediction.engine} does not say how strange the input is"
            )
        share = terms.scope.as_strange(prediction.novelty)
        if share <= terms.scope.limit + 1e-12:
            reason = f"{STRANGE}, {share:.1%} of the rows held out are as strange, at or below {terms.scope.limit:.1%}"
            return replace(decision, accepted=False, reason=reason, code="out_of_scope")
    below = {
        name: (prediction.fields.get(name), demanded)
        for name, demanded in terms.fields.items()
        if name in prediction.value and prediction.fields.get(name, -1.0) < demanded
    }
    if not below:
        return decision
    reason = "; ".join(_short(name, *said) for name, said in below.items()) if decision.accepted else decision.reason
    return replace(decision, accepted=False, reason=reason, code="fields", short=tuple(below))


def _short(name: str, confidence: float | None, demanded: float) -> str:
    if confidence is None:
        return f"no confidence of {name} is known, {demanded:.2f} is demanded"
    return "confidence of {} {} is below {}".format(name, *apart(confidence, demanded))
