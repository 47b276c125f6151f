"""The calendar: what is due again when, counted from what happened. Nothing here knows what day it is."""

from datetime import datetime, timedelta

from insource.govern.about_people import of_file
from insource.govern.declared import declared
from insource.govern.evidence import Found, Gap, Said, counted, table
from insource.govern.facts import Facts
from insource.nouns import Noun

EVERY = {"monthly": 31, "quarterly": 92, "annual": 366}
QUARTER = 92


class Due(Noun, frozen=True, kw_only=True):
    """Something that comes again: every how many days, the last time that it was, and the day on which it is due."""

    what: str
    every: int
    last: str
    day: str
    how: str
    field: str


def due(facts: Facts) -> list[Due]:
    """What is due when, in the order of the days. What never was and has nothing to count from is not in it."""
    watch, task = facts.configured.watch, facts.task.name
    made = max([when for _, when in facts.made if when], default="")
    looked = facts.looks[-1].created if facts.looks else _live_since(facts)
    review = declared(facts, "quarterly_review")
    seen = review.on if isinstance(review, Said) else _live_since(facts)
    found = [
        _due("retraining", EVERY[watch.retrain], made, f"insource improve {task}", "retraining"),
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
        sources=(of_file(facts),),
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


def _due(what: str, every: int, last: str, how: str, field: str) -> Due | None:
    if not every or not last:
        return None
    day = (datetime.fromisoformat(last) + timedelta(days=every)).date().isoformat()
    return Due(what=what, every=every, last=last, day=day, how=how, field=field)
