"""The review queue in figures, in words for the terminal."""

from insource.cli.words import bold
from insource.review import Figures, service_words
from insource.review.figures import Agreed, Took


def words(found: Figures) -> str:
    """All figures, each with its n and interval."""
    since = f", the oldest since {found.oldest[:16].replace('T', ' ')} UTC" if found.oldest else ""
    half = f", {found.half:,} of them for a second or third person" if found.half else ""
    lines = [f"{bold(found.task)}: {found.waiting:,} wait{'s' * (found.waiting == 1)}{since}{half}"]
    said = ", ".join(f"{n:,} {verdict}" for verdict, n in found.verdicts.items()) or "none"
    of = f" (the newest {found.looked_at:,} of {found.settled:,})" if found.looked_at < found.settled else ""
    lines.append(f"  settled by people   {said}{of}")
    if found.timeouts:
        gone = ", ".join(f"{n:,} {fallback}" for fallback, n in found.timeouts.items())
        lines.append(f"  nobody in time      {gone}")
    lines += [f"  waited p{took.share * 100:.0f}          {_took(took)}" for took in found.took]
    if found.agreement is not None:
        lines.append(f"  two people agree    {_agreed(found.agreement)}; {found.third:,} went to a third")
    lines += [f"  {found.unfit.words}"] if found.unfit.n else []
    return "\n".join(lines)


def _took(took: Took) -> str:
    low = service_words(took.low) if took.low is not None else "?"
    high = service_words(took.high) if took.high is not None else "?"
    return f"{service_words(took.seconds)} ({low} to {high}, n {took.n:,})"


def _agreed(found: Agreed) -> str:
    share = f"{found.share:.1%} ({found.share_low:.1%} to {found.share_high:.1%}, n {found.n:,})"
    if found.kappa is None:
        return f"{share}; kappa is not known: both always said the same one thing"
    return f"{share}, kappa {found.kappa:.2f} ({found.kappa_low:.2f} to {found.kappa_high:.2f})"
