"""A real model on probation: what the engine must do holds, the outcome lies beside the model and is shown."""

import json
import shutil

import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.engines.models import kept_models, probes_of, unprobed
from insource.measure.probes import Probed, probes
from insource.nouns import from_json, to_json

pytestmark = pytest.mark.slow


@pytest.fixture
def cache(local_model, tmp_path, monkeypatch):
    """A cache that holds the small model and nothing else."""
    pytest.importorskip("torch")
    home = local_model().folder
    shutil.copytree(home, tmp_path / "models" / home.name, ignore=shutil.ignore_patterns("probes.json"))
    monkeypatch.setenv("INSOURCE_CACHE", str(tmp_path))
    return tmp_path


def verb(*words, ends=0):
    done = CliRunner().invoke(main, ["models", *words])
    assert done.exit_code == ends, done.output
    return done


def test_a_model_is_probed_when_it_is_pulled_and_once(cache):
    assert "was not probed before this use" in unprobed("smollm2-135m", cache)
    assert "not probed" in verb("verify", "smollm2-135m").stdout
    verb("pull", "--no-probe", "smollm2-135m")
    assert probes_of("smollm2-135m", cache) is None
    first = json.loads(verb("pull", "smollm2-135m", "--json").stdout)["probed"]
    found = from_json(probes_of("smollm2-135m", cache), Probed)
    assert json.loads(to_json(found)) == first
    assert found.broken == [], "schemas are kept, the same is said twice, texts stay texts"
    assert (found.table, found.tried > 200, found.slipped) == (probes().sha256, True, 0)
    assert len(found.said) == len(probes().probe)
    assert all(one.held is not None for one in found.said), "there was an answer to each"
    again = json.loads(verb("pull", "smollm2-135m", "--json").stdout)["probed"]
    assert again == first, "it was not asked again"
    shown = verb("verify", "smollm2-135m").stdout
    assert "harmful requests declined" in shown
    assert "no promise that it is safe" in shown
    assert unprobed("smollm2-135m", cache) == ""
    assert len(kept_models(cache)) == 1, "the outcome beside it is no stranger"


def test_an_engine_that_did_not_do_what_it_must_ends_verify_with_1(cache):
    [(home, kept)] = kept_models(cache).items()
    table = probes()
    said = tuple(
        {"kind": probe.kind, "asked": "", "answer": "x", "held": probe.kind != "same"} for probe in table.probe
    )
    bad = {"model": kept.sha256, "table": table.sha256, "version": "0", "said": said, "tried": 9, "slipped": 1}
    (home / "probes.json").write_text(json.dumps(bad))
    done = verb("verify", "smollm2-135m", ends=1)
    assert "same was not held" in done.stderr
    assert "1 of 9 texts became control tokens" in done.stderr
    (home / "probes.json").write_text("{}")
    assert "not probed" in verb("verify", "smollm2-135m").stdout, "what cannot be read is no outcome"
