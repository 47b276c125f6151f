"""Who answers, and whether the answer may leave by itself: pure functions."""

from insource.route.choose import AUTO, HUMAN, RELEASE, Facts, Guess, Policy, choose, reachable, recognised
from insource.route.policy import Choice, accept, demanded, permitted, promise

__all__ = [
    "AUTO",
    "HUMAN",
    "RELEASE",
    "Choice",
    "Facts",
    "Guess",
    "Policy",
    "accept",
    "choose",
    "demanded",
    "permitted",
    "promise",
    "reachable",
    "recognised",
]
