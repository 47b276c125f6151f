"""`insource batch` as it is typed: what is wrong with the words is told first."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from insource.cli.main import main

NOWHERE = "127.0.0.1:9"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("tickets", "in.csv", "--input", "text"), 2, "has no column 'text'"),
        (("tickets", "gone.csv"), 2, "gone.csv cannot be read"),
        (("nobody", "in.csv"), 2, "nobody"),
        (("tickets", "in.csv", "--input", "mail"), 4, "Ray"),
    ],
)
def test_a_wrong_word_is_told_before_a_cluster_is_waited_for(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "insource.toml").write_text("")
    (tmp_path / "tasks" / "tickets.toml").write_text('name = "tickets"\nkind = "generate"\n')
    (tmp_path / "in.csv").write_text("id,mail,who\n1,hello,me\n")
    files = [str(tmp_path / word) if word.endswith(".csv") else word for word in words]
    typed = ["-C", str(tmp_path), "batch", *files, "--out", str(tmp_path / "out.csv"), "--ray", NOWHERE]
    done = CliRunner().invoke(main, typed)
    assert (done.exit_code, said in done.output) == (code, True), done.output
