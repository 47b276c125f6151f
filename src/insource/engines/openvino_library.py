"""The openvino library, kept from calling home.

openvino's converter and nncf report what is done with them to a statistics service when the package openvino-telemetry
is there, nncf without asking first. Nothing of ours may speak to a network that nobody named: both do without it where
it cannot be imported.
"""

import importlib
import sys
from typing import Any

from insource.errors import EngineDown

TELEMETRY = "openvino_telemetry"
# form → how nncf keeps the weights, "" leaves them in 16 bits
WEIGHTS = {"openvino": "", "openvino-int8": "INT8_ASYM", "openvino-int4": "INT4_SYM"}


def library(name: str) -> Any:
    """The module `name`, "openvino" or "nncf". Raises `EngineDown` where it is not installed."""
    sys.modules.setdefault(TELEMETRY, None)  # type: ignore[arg-type]  # import then says it is not there
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = "quantize" if name == "nncf" else "openvino"
        raise EngineDown(f"{error.name or name} is not installed", hint=f"pip install 'insource[{extra}]'") from error
