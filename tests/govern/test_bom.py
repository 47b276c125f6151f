"""The bill of materials against the official schema, and the card against the hub's own reader."""

import json
from pathlib import Path

import msgspec
import pytest
import yaml
from test_govern import facts_of, sql

from insource.govern.facts import Base
from insource.govern.pack import pack


def checked(bill: bytes) -> dict:
    """The bill, once the schema of CycloneDX 1.6 has nothing to say against it."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode())
    assert fault is None, str(fault)[:600]
    found = json.loads(bill)
    refs = [found["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in found["components"])]
    assert len(set(refs)) == len(refs), "every bom-ref once"
    assert {one["ref"] for one in found["dependencies"]} == set(refs)
    return found


async def test_the_schema_has_nothing_against_it_and_every_file_has_its_digest(settings):
    whole = await facts_of(settings)
    found = checked(pack(whole).files["bom.cdx.json"])
    digests = {one["name"]: one["hashes"][0]["content"] for one in found["components"] if one["type"] == "file"}
    assert digests == whole.manifest.files
    (data,) = [one for one in found["components"] if one["type"] == "data"]
    assert data["hashes"] == [{"alg": "SHA-256", "content": whole.dataset.id}]
    model = found["metadata"]["component"]
    assert model["hashes"][0]["content"] == whole.release.artefact
    measured = {one["type"]: one for one in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
                if "slice" not in one}  # fmt: skip
    score = whole.candidate.score("accuracy")
    assert float(measured["accuracy"]["value"]) == pytest.approx(score.value, abs=1e-5)
    assert found["metadata"]["timestamp"] == whole.release.created
    assert model["modelCard"]["considerations"]["useCases"] == ["Files defect reports of plant 4."]
    assert "users" not in model["modelCard"]["considerations"], "nobody said who is affected"


async def test_a_base_model_stands_in_it_with_digest_and_licence(settings):
    whole = await facts_of(settings)
    made = msgspec.structs.replace(whole.manifest, base="smollm2-135m", base_digest="a" * 64,
                                   files={"adapter/a.safetensors": "b" * 64})  # fmt: skip
    base = Base(name="smollm2-135m", license="Apache-2.0", hub="HuggingFaceTB/SmolLM2-135M-Instruct", parameters=1)
    odd = msgspec.structs.replace(base, license="Gemma terms of use: https://ai.google.dev/gemma/terms")
    for one, licence in ((base, {"id": "Apache-2.0"}), (odd, {"name": odd.license}), (None, None)):
        found = checked(pack(msgspec.structs.replace(whole, manifest=made, base=one)).files["bom.cdx.json"])
        (model,) = [part for part in found["components"] if part["type"] == "machine-learning-model"]
        assert model["hashes"][0]["content"] == "a" * 64
        assert model.get("licenses") == ([{"license": licence}] if licence else None)
        assert [part["description"] for part in found["components"] if part["type"] == "file"]


async def test_the_schema_has_nothing_against_it_where_almost_nothing_is_there(settings):
    sql(settings, "DELETE FROM release", "DELETE FROM dataset", "DELETE FROM report", "DELETE FROM stage_change")
    found = checked(pack(await facts_of(settings)).files["bom.cdx.json"])
    assert found["metadata"]["component"]["version"] == "none"
    assert "timestamp" not in found["metadata"]


async def test_another_state_has_another_serial_number(settings):
    whole = await facts_of(settings)
    other = msgspec.structs.replace(whole, libraries={"torch": "2.13.0+cpu"})
    serials = {checked(pack(one).files["bom.cdx.json"])["serialNumber"] for one in (whole, whole, other)}
    assert len(serials) == 2


async def test_the_hub_reads_the_card_and_its_figures(settings, tmp_path: Path):
    from huggingface_hub import ModelCard

    whole = await facts_of(settings)
    text = pack(whole).files["model-card.md"].decode()
    (tmp_path / "README.md").write_text(text)
    card = ModelCard.load(tmp_path / "README.md")
    figures = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert figures["accuracy"] == whole.candidate.score("accuracy").value
    assert figures == {one.metric: one.value for one in whole.candidate.scores if one.slice is None}
    assert yaml.safe_load(text.split("---")[1])["pipeline_tag"] == "text-classification"
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## Model Details", "## Uses", "## Bias, Risks, and Limitations", "## How to Get Started with the Model",
        "## Training Details", "## Evaluation", "## Environmental Impact", "## Technical Specifications",
        "## Model Card Contact",
    ]  # fmt: skip


def test_every_heading_of_the_card_is_one_of_the_template():
    import huggingface_hub

    from insource.govern.documents import documents

    template = (Path(huggingface_hub.__file__).parent / "templates" / "modelcard_template.md").read_text()
    known = {line.lstrip("# ").removesuffix(" [optional]") for line in template.splitlines() if line.startswith("#")}
    assert {section.heading for section in documents()[0].section} <= known
