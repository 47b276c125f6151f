"""Has hatchling put machine code into the wheel, of the modules that a call passes through, where INSOURCE_COMPILED=1.

mypyc makes C of typed Python, and a C compiler the rest. The Python stays in the wheel beside it, for people to read.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "INSOURCE_COMPILED"
SOURCE = Path("src/insource")


class Compiled(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling asks at every build."""

    PLUGIN_NAME = "custom"

    @property
    def wanted(self) -> bool:
        """Whether machine code is wanted."""
        return self.target_name == "wheel" and os.environ.get(SWITCH) == "1"

    def dependencies(self) -> list[str]:
        """What the build needs: the types of what we build on, too."""
        return ["mypy>=1.15", "setuptools>=80", *self.metadata.core.dependencies] if self.wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles, and has it taken along. Ends the build where the compiler does not know a module."""
        if not self.wanted or version == "editable":
            return
        names = self.metadata.config["tool"]["insource"]["compiled"]
        self._folder = tempfile.TemporaryDirectory()  # ends with the build
        made = compiled([str(SOURCE / name) for name in names], Path(self._folder.name))
        build_data |= {"pure_python": False, "infer_tag": True}
        build_data["force_include"] |= made


def compiled(paths: list[str], folder: Path) -> dict[str, str]:
    """Compiles the modules into `folder`: file there → its place in the wheel."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    # where a wheel is built there is the core and no extra: what extras bring is taken as it comes
    asked = ["--config-file", "pyproject.toml", "--ignore-missing-imports", *paths]
    extensions = mypycify(asked, opt_level="3", debug_level="0", target_dir=str(folder / "c"))
    build = build_ext(Distribution({"name": "insource", "ext_modules": extensions, "package_dir": {"": "src"}}))
    build.build_lib, build.build_temp = str(folder / "lib"), str(folder / "objects")
    build.ensure_finalized()
    build.run()
    lib = folder / "lib"
    return {str(path): str(path.relative_to(lib)) for path in lib.rglob("*") if path.is_file()}
