"""Is a task one for a small model? A table of rules over what people say and what the data shows. Pure.

A small model that is trained for one task does well at what is frequent, well defined and labelled. It does not at
open-ended writing, at reasoning in several fields at once, at drawing on all of a very long document, at what changes
before it is trained, and it is not worth its keep where few calls come and nobody looks after it. Every bound below is
one of this product's own workings, and says which.
"""

from collections.abc import Callable

from insource.nouns import Noun, Rollout, Task
from insource.nouns.suitability import Answers, Ground, Share, Shown, Suitability, Weighs

LOW, HIGH = 100, 1_000  # calls a day: at 100 a watch sees its window of 500 calls in five days
ROWS, BETTER = 500, 5_000  # labelled rows: what a measured figure needs, and what a specialist likes
AMBIGUOUS, UNSURE = 0.20, 0.05  # of the rows
NEW, SOME_NEW = 0.20, 0.05  # of the newest rows have a label that is new
ONE_SIDED = 0.95  # of the rows have the commonest label
RARE = 0.20  # of the labels have fewer than 5 rows
LUCK = 0.01
RETRAINED = 4.0  # times a year: the usual cadence of [watch]
NOBODY = "nobody"

QUESTIONS = {
    "calls_per_day": "How many calls come a day?",
    "operator": f"Who will run it, look at doubtful answers and train it again? A name, or {NOBODY}",
    "creative": "Is it creative writing, where many answers are equally right?",
    "across_domains": "Does one answer take reasoning in several fields of expertise at once?",
    "synthesis": "Does an answer draw on parts all over a document, not on one passage of it?",
    "changes_per_year": "How many times a year does what is asked change, so that older labels are wrong?",
    "defined": "Would two people who know the work give the same answer?",
}


class Case(Noun, frozen=True, kw_only=True):
    """All that the rules look at."""

    task: Task
    rollout: Rollout
    answers: Answers
    shown: Shown

    @property
    def days(self) -> float:
        """Days from a candidate to a release that answers all traffic, at least, by the task's own [rollout]."""
        rollout = self.rollout
        return rollout.staging_days + rollout.shadow_days + rollout.canary_days * len(rollout.canary)


Said = tuple[Weighs, str, str]  # how it weighs, why, and whose word it is or the question that is open


def judge(case: Case) -> Suitability:
    """What every rule says, and what it comes to."""
    grounds = tuple(_ground(rule, said) for rule, look in RULES.items() if (said := look(case)) is not None)
    by = {weighs: [g for g in grounds if g.weighs == weighs] for weighs in ("against", "open", "care")}
    verdict = "no" if by["against"] else "open" if by["open"] else "yes"
    summary = {
        "no": f"not for a small model: {'; '.join(g.why for g in by['against'])}",
        "open": f"not known yet: {_questions(len(by['open']))}",
        "yes": "for a small model" + (f", with care: {'; '.join(g.why for g in by['care'])}" if by["care"] else ""),
    }
    return Suitability(
        task=case.task.name,
        verdict=verdict,  # type: ignore[arg-type]
        summary=summary[verdict],
        grounds=grounds,
        answers=case.answers,
        shown=case.shown,
    )


def _questions(count: int) -> str:
    return "1 question is open" if count == 1 else f"{count} questions are open"


def _ground(rule: str, said: Said) -> Ground:
    weighs, why, of = said
    if weighs == "open":
        return Ground(rule=rule, weighs=weighs, why=why, of="nobody yet", asks=of)
    return Ground(rule=rule, weighs=weighs, why=why, of=of)  # type: ignore[arg-type]


def _creative(case: Case) -> Said | None:
    said = case.answers.creative
    if case.task.kind != "generate":
        words = "labels to choose from" if case.task.kind == "classify" else "a schema to fill"
        if said:
            return "care", f"it is said to be creative writing, but has {words}", "people"
        return "for", f"an answer is closed: {words}", "the task's file"
    if said is None:
        return _ask("creative")
    return ("against", "open-ended writing has no answer to learn", "people") if said else (
        "for", "an answer is right or wrong", "people")  # fmt: skip


def _domains(case: Case) -> Said | None:
    said = case.answers.across_domains
    if said is None:
        return _ask("across_domains")
    return ("against", "one answer takes reasoning in several fields at once", "people") if said else (
        "for", "one field at a time", "people")  # fmt: skip


def _synthesis(case: Case) -> Said | None:
    said, longest, context = case.answers.synthesis, case.shown.tokens_p95, case.shown.context
    if longest is not None and longest <= context:
        return "for", f"95% of the texts have at most {longest:,} tokens, the model reads {context:,} at once", "rows"
    if said is None:
        return _ask("synthesis")
    if not said:
        return "for", "an answer hangs on a passage, however long the text", "people"
    if longest is None:
        return "care", "answers draw on all of a document, and no rows say how long those are", "people"
    why = f"answers draw on all of documents of {longest:,} tokens, the model reads {context:,} at once"
    return "against", why, "people"


def _changes(case: Case) -> Said | None:
    said = case.answers.changes_per_year
    if said is None:
        return _ask("changes_per_year")
    if said * case.days > 365:
        why = f"it changes {said:g} times a year, and a release takes {case.days:g} days to answer all traffic"
        return "against", why, "people"
    if said > RETRAINED:
        why = f'it changes {said:g} times a year: train it again as often ([watch] retrain = "monthly")'
        return "care", why, "people"
    return "for", f"it changes {said:g} times a year", "people"


def _novelty(case: Case) -> Said | None:
    found = case.shown.novelty
    if found is None:
        return None
    new = found.new_labels
    if new is not None and new.low > NEW:
        return "against", f"{_share(new)} of the rows since {found.since} have a label that is new", found.of
    if new is not None and new.low > SOME_NEW:
        return "care", f"{_share(new)} of the rows since {found.since} have a label that is new", found.of
    if found.p <= LUCK and found.moved > 0.1:
        return "care", f"{found.of} since {found.since} are not as before (p {found.p:.2g})", found.of
    return "for", f"{found.of} since {found.since} are much as before", found.of


def _volume(case: Case) -> Said | None:
    counted, said, who = case.shown.calls_per_day, case.answers.calls_per_day, case.answers.operator
    calls = max((each for each in (counted, said) if each is not None), default=None)
    if calls is None:
        return _ask("calls_per_day")
    of = "calls" if calls == counted else "people"
    words = f"{calls:,.0f} calls a day"
    if calls >= HIGH:
        return "for", words, of
    if calls >= LOW:
        return "care", f"{words} are not many: let `insource price` say whether it pays", of
    if who is None:
        return _ask("operator")
    if who.strip().lower() in ("", NOBODY):
        return "against", f"{words}, and nobody to look after it", of
    return "care", f"{words} are few: let `insource price` say whether it pays", of


def _operator(case: Case) -> Said | None:
    who = case.answers.operator
    if who is None:
        return _ask("operator")
    if who.strip().lower() in ("", NOBODY):
        return "care", "nobody looks at doubtful answers or trains it again", "people"
    return "for", f"{who} looks after it", "people"


def _defined(case: Case) -> Said | None:
    said = case.answers.defined
    if said is None:
        return _ask("defined") if case.shown.at_odds is None or case.shown.at_odds.n < ROWS else None
    return ("for", "people who know the work agree", "people") if said else (
        "against", "people who know the work do not agree: write down what is right first", "people")  # fmt: skip


def _ambiguity(case: Case) -> Said | None:
    texts, near = case.shown.contradicting, case.shown.at_odds
    found = max((one for one in (texts, near) if one), key=_low, default=None)
    if found is None:
        return None
    words = f"{_share(found)} of the {'rows' if found is texts else 'near duplicates'} contradict their likes"
    if found.low > AMBIGUOUS:
        return "against", f"{words}: no model can learn that", "rows"
    return ("care" if found.high > UNSURE else "for"), words, "rows"


def _labelled(case: Case) -> Said | None:
    rows = case.shown.rows
    if rows >= BETTER:
        return "for", f"{rows:,} labelled rows", "rows"
    if rows >= ROWS:
        return "for", f"{rows:,} labelled rows; {BETTER:,} are better", "rows"
    return "care", f"{rows:,} labelled rows, {ROWS} are needed", "rows"


def _balance(case: Case) -> Said | None:
    if not case.shown.labels:
        return None
    worst = max(case.shown.labels, key=lambda one: (one.commonest > ONE_SIDED, one.rare / one.labels))
    spread = f"{worst.output}: {worst.labels} labels, {worst.even:.0%} of an even spread"
    if worst.commonest > ONE_SIDED:
        return "care", f"{spread}; {worst.commonest:.1%} of the rows have one label: a rule may do", "rows"
    if worst.rare > RARE * worst.labels:
        return "care", f"{spread}; {worst.rare} labels have fewer than 5 rows", "rows"
    return "for", spread, "rows"


def _ask(key: str) -> Said:
    return "open", QUESTIONS[key], key


def _low(share: Share) -> float:
    return share.low


def _share(share: Share) -> str:
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%}, n {share.n:,})"


RULES: dict[str, Callable[[Case], Said | None]] = {
    "closed": _creative,
    "one field": _domains,
    "length": _synthesis,
    "stable": _changes,
    "novelty": _novelty,
    "volume": _volume,
    "operated": _operator,
    "defined": _defined,
    "ambiguity": _ambiguity,
    "labelled": _labelled,
    "balance": _balance,
}
