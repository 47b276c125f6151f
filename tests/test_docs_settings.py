"""Every key of the settings files, and every variable of the environment that is read, is in the reference."""

import re
from pathlib import Path

import msgspec
import pytest

from insource import settings
from insource.nouns import Governing, Levels, Limits, Observe, Reviewing, Rollout, Route, When
from insource.nouns.pricing import ApiPrice, Effort, MachineRate, PriceSettings, TaskPricing
from insource.nouns.signing import Signing
from insource.nouns.watching import Alerting, Backups, Watching

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")


def keys(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("`[workspace]`", settings.WorkspaceSettings),
        ("`[store]`", settings.StoreSettings),
        ("`[artefacts]`", settings.Artefacts),
        ("`[serve]`", settings.ServeSettings),
        ("`[audit]`", settings.AuditSettings),
        ("`[cache]`", settings.CacheSettings),
        ("`[router]`", settings.RouterSettings),
        ("`[observe]`", Observe),
        ("`[engines.NAME]`", settings.EngineSettings),
        ("`[tenants.NAME]`", Limits),
        ("`[scan]`", settings._ScanFile),
        ("The task", settings._TaskFile),
        ("`[outputs.NAME]`", settings._OutputFile),
        ("`[risk]`", settings.RiskSettings),
        ("`[[route]]`", Route),
        ("`when`", When),
        ("`[levels]`", Levels),
        ("`[rollout]`", Rollout),
        ("`[review]`", Reviewing),
        ("`[watch]`", Watching),
        ("`[govern]`", Governing),
        ("`[suitability]`", settings.Answers),
        ("`[alerts]`", Alerting),
        ("`[backup]`", Backups),
        ("`[signing]`", Signing),
        ("`[price]`", PriceSettings),
        ("`[price.apis.NAME]`", ApiPrice),
        ("`[price.machines.NAME]`", MachineRate),
        ("`[price]` of a task", TaskPricing),
        ("`[price.effort]`", Effort),
    ],
)
def test_every_key_of_a_settings_file_is_documented(heading: str, kind: type[msgspec.Struct]) -> None:
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,6}} |\Z)", REFERENCE, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {heading!r}"
    first = [line.split("|")[1] for line in found[2].splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`([^`]+)`", " ".join(first))) == sorted(keys(kind))


def test_every_section_of_a_settings_file_is_documented() -> None:
    known = {"workspace", "store", "serve", "audit", "observe", "networks", "cache", "router", "scan", "engines"}
    known |= {"tenants", "alerts", "backup", "signing", "price", "artefacts"}
    assert set(keys(settings._File)) == known, "test its keys as well"


def test_every_environment_variable_that_is_read_is_documented() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py")]
    read = {name for text in sources for name in re.findall(r"(?:environ(?:\.get\(|\[)|secret\()\"([A-Z_]+)\"", text)}
    assert {"INSOURCE_CACHE", "HF_TOKEN"} <= read
    assert all(f"`{name}`" in REFERENCE for name in read)
