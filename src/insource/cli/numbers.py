"""A number on the command line."""

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A number within its bounds. Click lets "nan" through any bound, and "inf" where there is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails for what is none, and for what is no amount of anything."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is no amount", param, ctx)
        return found
