"""Who answers, and whether the answer may leave by itself: pure functions."""

from insource.route.choose import AUTO, HUMAN, RELEASE, Facts, Guess, Policy, choose, reachable, recognised
from insource.route.policy import Choice, accept, demanded, in_form, permitted, promise
from insource.route.terms import Scope, Terms, within

__all__ = [
    "AUTO",
    "HUMAN",
    "RELEASE",
    "Choice",
    "Facts",
    "Guess",
    "Policy",
    "Scope",
    "Terms",
    "accept",
    "choose",
    "demanded",
    "in_form",
    "permitted",
    "promise",
    "reachable",
    "recognised",
    "within",
]
