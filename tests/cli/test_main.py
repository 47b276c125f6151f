"""The one place where an error becomes words and an exit code."""

import click
import pytest
from click.testing import CliRunner

from insource.cli.main import Verbs


@pytest.mark.parametrize(("interrupted", "code"), [(True, 130), (False, 1)])
def test_ctrl_c_inside_a_librarys_import_is_ctrl_c_and_a_broken_library_is_not(interrupted, code):
    @click.group(cls=Verbs)
    def program() -> None:
        pass

    @program.command("status")
    def status() -> None:
        try:
            raise KeyboardInterrupt if interrupted else OSError("no such library")
        except BaseException as error:
            raise ImportError("the C extension could not be loaded") from error

    program.get_command = lambda _ctx, _name: status
    done = CliRunner().invoke(program, ["status"])
    assert done.exit_code == code
    assert ("nothing half-written" in done.output) == interrupted
