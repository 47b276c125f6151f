"""What is wrong in `insource.toml` is told with the file, the table and the key."""

from pathlib import Path

import pytest

from insource.errors import Invalid
from insource.settings import load_settings

GOOD = '[engines.small]\nkind = "vllm"\nmodel = "a"\nbase_url = "http://127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[engines.large]\nkind = "openai"\nbase_url = 3\n', "got `int` - at `$.engines.large.base_url`"),
        ('[engines.large]\nkind = "nope"\n', "'nope' - at `$.engines.large.kind`"),
        ("[tenants.north]\nrequests_per_minute = -1\n", "at `$.tenants.north.requests_per_minute`"),
        ('[workspace]\nthreads = "two"\n', "at `$.workspace.threads`"),
        ("engines = 3\n", "at `$.engines`"),
        ("[engines.large]\ncolour = 1\n", "insource.toml:6: unknown key 'engines.large.colour'"),
    ],
)
def test_an_error_names_the_table_it_is_in(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "insource.toml").write_text(table if table.startswith("engines =") else GOOD + table)
    with pytest.raises(Invalid) as error:
        load_settings(tmp_path)
    assert said in str(error.value)
