"""The calendar: what is due again when, counted from what happened. Nothing here knows what day it is."""

from datetime import datetime, timedelta

from insource.govern.about_people import of_file
from insource.govern.declared import declared
from insource.govern.evidence import Found, Gap, Kind, Said, Source, counted, table
from insource.govern.facts import Facts
from insource.nouns import Noun

EVERY = {"monthly": 31, "quarterly": 92, "annual": 366}
QUARTER = 92


class Due(Noun, frozen=True, kw_only=True):
    """Something that comes again: every how many days, the last time that it was, and the day on which it is due.

    `source` is the kind of thing that says when that last time was.
    """

    what: str
    every: int
    last: str
    day: str
    how: str
    field: str
    source: Kind


def due(facts: Facts) -> list[Due]:
    """What is due when, in the order of the days. What never was and has nothing to count from is not in it."""
    watch, task = facts.configured.watch, facts.task.name
    made = max([when for _, when in facts.made if when], default="")
    since: tuple[str, Kind] = (_live_since(facts), "stage changes")
    looked: tuple[str, Kind] = (facts.looks[-1].created, "holdout") if facts.looks else since
    review = declared(facts, "quarterly_review")
    seen = (review.on, review.source.kind) if isinstance(review, Said) else since
    found = [
        _due("retraining", EVERY[watch.retrain], (made, "release"), f"insource improve {task}", "retraining"),
        _due("rolling holdout", watch.holdout_days, looked, "insource nightly", "holdout"),
        _due(
            "quarterly review, with the privacy impact assessment",
            QUARTER,
            seen,
            f"insource govern {task} --declare quarterly_review=TEXT --by NAME",
            "quarterly_review",
        ),
    ]
    return sorted((one for one in found if one is not None), key=lambda one: (one.day, one.what))


def calendar(facts: Facts) -> Found | Gap:
    """What is due when, as a table."""
    found = due(facts)
    if not found:
        return Gap(
            why="nothing happened yet from which days could be counted", fill=f"insource train {facts.task.name}"
        )
    rows = [(one.what, counted(one.every, "day"), one.last, one.day, one.how) for one in found]
    words = "Counted from what happened; insource govern --check holds the days against today."
    return Found(
        words=words,
        table=table(("what", "every", "counted from", "due", "how"), rows),
        sources=(of_file(facts), *(Source(kind=kind) for kind in sorted({one.source for one in found}))),
    )


def retraining(facts: Facts) -> Found:
    """How often it is trained anew, and upon what."""
    watch = facts.configured.watch
    held = f"every {watch.holdout_days:,} days, {watch.holdout_window:,} days of calls, {watch.holdout_rows:,} rows"
    rows = [
        ("by the calendar", f"{watch.retrain}: every {EVERY[watch.retrain]:,} days"),
        ("by trigger", "drift or degradation that the watch or the rolling holdout finds, or a broken promise"),
        ("rolling holdout", held if watch.holdout_days else "never"),
        ("engines of others", f"{watch.pinned_rows:,} pinned rows each night" if watch.pinned_rows else "never"),
    ]
    return Found(words="When it is to be trained again.", table=table(("what", "how"), rows), sources=(of_file(facts),))


def _live_since(facts: Facts) -> str:
    return next((one.created for one in facts.changes if one.after == "live"), "")


def _due(what: str, every: int, counted_from: tuple[str, Kind], how: str, field: str) -> Due | None:
    last, source = counted_from
    if not every or not last:
        return None
    day = (datetime.fromisoformat(last) + timedelta(days=every)).date().isoformat()
    return Due(what=what, every=every, last=last, day=day, how=how, field=field, source=source)
