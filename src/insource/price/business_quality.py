"""What answers are wrong before and after, and what that is worth where somebody says what a wrong answer costs."""

import msgspec

from insource.nouns.business import Counted, Figure, Quality, Section
from insource.price.business_bill import WAYS
from insource.price.business_terms import Terms
from insource.price.compare import usd

PER_MONTH = "US$ a month"
ENDS = (("", ""), (".low", ", low end"), (".high", ", high end"))


def quality(terms: Terms, known: Quality, months: int) -> Section:
    """Fewer wrong answers in money, at the point and at both ends of the interval; what is not known is missing."""
    sides = [_counted(terms, f"wrong.{side}", f"wrong answers, {word}", getattr(known, side))
             for side, word in WAYS.items()]  # fmt: skip
    ends = {"less": "{wrong.now}-{wrong.then}", "less.low": "{wrong.now.low}-{wrong.then.high}",
            "less.high": "{wrong.now.high}-{wrong.then.low}"}  # fmt: skip
    names = {
        "less": "fewer wrong answers",
        "less.low": "fewer wrong answers, low end",
        "less.high": "fewer wrong answers, high end",
    }
    less = [_less(terms, known.less, key, names[key], formula) for key, formula in ends.items()]
    cost = terms.declared("wrong.usd", "what a wrong answer costs", known.wrong_usd, "US$", "[price] wrong_usd")
    worth = [
        terms.computed(
            f"worth{end}",
            f"worth of fewer wrong answers{word}",
            PER_MONTH,
            f"{{calls.month}}*{{wrong.less{end}}}*{cost}",
        )
        for end, word in ENDS
    ]
    whole = terms.computed("saved.sure", f"saved in {months} months with wrong answers at their low end", "US$",
                           "{saved}+{months}*{worth.low}")  # fmt: skip
    others = [_counted(terms, f"risk.{i}", what, one)[0] for i, (what, one) in enumerate(known.others)]
    figures = (*(one for side in sides for one in side), *less, terms.figures["wrong.usd"], *worth, whole, *others)
    return Section(title="Quality and risk, in money", finding=_worth(worth, figures), figures=figures)


def _worth(worth: list[Figure], figures: tuple[Figure, ...]) -> str:
    """What it is worth in a sentence, or what is missing to say so."""
    point, low, high = (one.value for one in worth)
    if point is None or low is None or high is None:
        gone = [one for one in figures if one.how == "missing" and one.given
                and not one.key.endswith((".low", ".high"))]  # fmt: skip
        return f"Missing: {'; '.join(f'{one.name} ({one.of})' for one in gone)}. Nothing stands here in its place."
    worth_it = f"Fewer wrong answers are worth {usd(point)} a month ({usd(low)} to {usd(high)})"
    return f"{worth_it}. The payback above leaves it out."


def _counted(terms: Terms, key: str, name: str, one: Counted | None) -> list[Figure]:
    """A share with the ends of its interval, as inputs of their own; the ends of what has none are the share itself."""
    if one is None:
        gone = f"insource measure or insource migrate {terms.file[6:-5]}, with who does it today among the candidates"
        for end, word in ENDS:
            terms.lacking(f"{key}{end}", f"{name}{word}", "share", gone)
        return [terms.figures[key]]
    for (end, word), value in zip(ENDS, (one.share, one.low, one.high), strict=True):
        figure = Figure(
            key=f"{key}{end}",
            name=f"{name}, {one.who}{word}",
            value=one.share if value is None else value,
            unit="share",
            how=one.how,
            of=one.of,
        )
        terms.put(figure if end else msgspec.structs.replace(figure, low=one.low, high=one.high, n=one.n))
    return [terms.figures[key]]


def _less(terms: Terms, paired: Counted | None, key: str, name: str, formula: str) -> Figure:
    """The difference as it was measured on the same rows, else of the two shares and of the far ends of theirs."""
    if paired is None:
        return terms.computed(f"wrong.{key}", name, "share", formula)
    value = {"less": paired.share, "less.low": paired.low, "less.high": paired.high}[key]
    figure = Figure(key=f"wrong.{key}", name=name, value=value, unit="share", how=paired.how, of=paired.of)
    if key == "less":
        figure = msgspec.structs.replace(figure, low=paired.low, high=paired.high, n=paired.n)
    terms.put(figure)
    return figure
