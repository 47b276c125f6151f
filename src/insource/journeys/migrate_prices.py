"""What costs are told from, fixed with the criteria: how much it is called, on what machine, and who else sells it."""

from collections.abc import Sequence

from insource.nouns import Example, Task
from insource.nouns.assessment import Prices
from insource.nouns.pricing import MachineRate
from insource.settings import Settings


def prices(task: Task, settings: Settings, rows: Sequence[Example]) -> Prices:
    """The prices of the workspace and the task."""
    return Prices(use=None, machine=MachineRate(name="a machine", on_demand=0.17), paid="on_demand")
