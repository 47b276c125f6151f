"""What a watch comes to: steady, noise, drift or degradation, and the next step. Pure."""

from collections.abc import Sequence
from typing import Literal

from insource.nouns import Noun
from insource.watch.window import Estimate, Moved

State = Literal["too few", "steady", "noise", "drift", "degradation"]


class Triage(Noun, frozen=True, kw_only=True):
    """The state, why in words, and what to do next (a command, or empty)."""

    state: State
    why: str
    next: str = ""


def triage(task: str, moved: Sequence[Moved], people: Estimate | None, demanded: float | None) -> Triage:
    """What people found decides before what moved: only they see whether answers are wrong.

    Degradation is an accuracy whose whole interval lies below what the task demands.
    """
    if people is not None and demanded is not None and people.high < demanded:
        return Triage(
            state="degradation",
            why=f"people find {people.value:.1%} right ({people.low:.1%} to {people.high:.1%}, n {people.n:,}), "
            f"{demanded:.1%} is demanded",
            next=f"insource improve {task}, or insource release rollback {task}",
        )
    if moved:
        what = "; ".join(f"{one.feature} is not as in {one.against} ({one.words})" for one in moved[:3])
        return Triage(state="drift", why=what, next=f"insource review {task}, then insource improve {task}")
    return Triage(state="steady", why="nothing moved that chance would not move")
