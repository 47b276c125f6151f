"""The console over a real gateway: the workspace and the socket are those of the gateway's tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "serve"))
