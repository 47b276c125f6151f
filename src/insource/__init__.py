"""insource brings LLM work in-house, one task at a time. See `insource --help` and the README."""

__version__ = "0.1.0"
