"""What a person sees next, and what becomes of a verdict."""

from insource.review.queue import frequent_labels
from insource.review.verdict import corrected, to_example, verdict

__all__ = ["corrected", "frequent_labels", "to_example", "verdict"]
