"""Who answers, and whether the answer may leave by itself: pure functions."""

from insource.route.policy import Choice, accept, choose, demanded, in_form, promise

__all__ = ["Choice", "accept", "choose", "demanded", "in_form", "promise"]
