"""Answers that fit no label of the task, and the labels that people proposed for them. Pure."""

from collections import Counter
from collections.abc import Iterable

from insource.nouns import Noun, Review, Task, likeness, visible

MOST, LONGEST = 5, 60


class Unfit(Noun, frozen=True, kw_only=True):
    """How many answers people said fit no label, and what they proposed, each with how often, most often first."""

    n: int = 0
    proposed: tuple[tuple[str, int], ...] = ()

    @property
    def words(self) -> str:
        """In one line; empty where there are none."""
        if not self.n:
            return ""
        some = ", ".join(f"{label} ({n:,})" for label, n in self.proposed[:MOST])
        more = f" and {len(self.proposed) - MOST:,} more" if len(self.proposed) > MOST else ""
        return f"{self.n:,} answers fit no label: proposed {some or 'none'}{more}"


def unfit(task: Task, reviews: Iterable[Review]) -> Unfit:
    """Those of `reviews` that say so. A proposal that is one of the task's labels by now is no longer counted."""
    known = {likeness(label) for output in task.outputs for label in output.labels}
    said = [review.note.strip() for review in reviews if review.verdict == "none_of_these"]
    open_ = [note for note in said if likeness(note) not in known]
    names: dict[object, str] = {}
    times: Counter[object] = Counter()
    for note in filter(None, open_):
        key = likeness(note)
        names.setdefault(key, visible(" ".join(note.split()))[:LONGEST])
        times[key] += 1
    return Unfit(n=len(open_), proposed=tuple((names[key], n) for key, n in times.most_common()))
