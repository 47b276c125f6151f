"""What a person sees next, and what becomes of a verdict."""

from insource.review.evidence import Piece, marked
from insource.review.figures import Figures, figures, oldest, service_words
from insource.review.queue import ANY, eyes, frequent_labels, is_disputed, novelty, rarity, worth
from insource.review.search import matching
from insource.review.unfit import Unfit, unfit
from insource.review.verdict import corrected, to_example, verdict

__all__ = [
    "ANY",
    "Figures",
    "Piece",
    "Unfit",
    "corrected",
    "eyes",
    "figures",
    "frequent_labels",
    "is_disputed",
    "marked",
    "matching",
    "novelty",
    "oldest",
    "rarity",
    "service_words",
    "to_example",
    "unfit",
    "verdict",
    "worth",
]
