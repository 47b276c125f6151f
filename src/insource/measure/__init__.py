"""Candidates and examples in, a Report out: asked through the path that serves, scored, compared, drawn.

Knows nothing of engines or the store: it receives a way to ask, and gives back values.
"""

from insource.measure.report import About, Contender, measure
from insource.measure.run import Answer, Answered, Run

__all__ = ["About", "Answer", "Answered", "Contender", "Run", "measure"]
