"""What a person sees next, and what becomes of a verdict."""

from insource.review.queue import ANY, frequent_labels, worth
from insource.review.unfit import Unfit, unfit
from insource.review.verdict import corrected, to_example, verdict

__all__ = ["ANY", "Unfit", "corrected", "frequent_labels", "to_example", "unfit", "verdict", "worth"]
