"""A bill of materials of a release: CycloneDX 1.6 with a model card, each component by its SHA-256 where it has one.

The standard is ECMA-424; its schema: https://cyclonedx.org/schema/bom-1.6.schema.json. What is missing is left out.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from insource.govern.evidence import Field
from insource.govern.facts import Facts
from insource.nouns import JsonObject, Score, canonical, digest, visible

SHA = re.compile("[0-9a-f]{64}")
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562, names that are URLs
SPDX = ("Apache-2.0", "MIT", "BSD-3-Clause", "BSD-2-Clause", "CC-BY-4.0", "CC-BY-SA-4.0")


def bill(facts: Facts, found: Mapping[str, Field]) -> JsonObject:
    """The bill of materials. Its serial number is made from its content, so that the same facts give the same."""
    model, parts = _model(facts, found), [*_base(facts), *_dataset(facts), *_files(facts), *_libraries(facts)]
    body: JsonObject = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            **_made(facts),
            "tools": {
                "components": [{"type": "application", "name": "insource", "version": facts.code.rpartition(" ")[2]}]
            },
            "component": model,
        },
        "components": parts,
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }
    name = f"https://cyclonedx.org/insource/{digest(canonical(body))}"
    return {**body, "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, name)}"}


def _made(facts: Facts) -> JsonObject:
    """The time at which the release was made: when this was written is nobody's business."""
    try:
        made = datetime.fromisoformat(facts.release.created if facts.release else "")
    except ValueError:
        return {}
    return {"timestamp": made.isoformat()} if made.tzinfo else {}


def _model(facts: Facts, found: Mapping[str, Field]) -> JsonObject:
    release = facts.release
    part: JsonObject = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{facts.about}",
        "name": facts.task.name,
        "version": release.version if release else "none",
        "description": visible(found["model"].words),
        "modelCard": _card(facts, found),
        "properties": [{"name": f"insource:{name}", "value": one.state} for name, one in sorted(found.items())],
    }
    if found["developers"].state == "declared":
        part["supplier"] = {"name": visible(found["developers"].words)}
    if found["owner"].state == "declared":
        part["properties"].append({"name": "insource:named-owner", "value": visible(found["owner"].words)})
    if found["licence"].state == "declared":
        part["licenses"] = [{"license": {"name": visible(found["licence"].words)}}]
    return {**part, **_hashes(release.artefact if release else "")}


def _card(facts: Facts, found: Mapping[str, Field]) -> JsonObject:
    parameters: JsonObject = {
        "approach": {"type": "supervised"},
        "task": facts.task.kind,
        "inputs": [{"format": "text/plain"}],
        "outputs": [{"format": _format(facts)}],
    }
    if facts.manifest is not None:
        parameters["modelArchitecture"] = facts.manifest.base
    if facts.dataset is not None:
        parameters["datasets"] = [{"ref": f"data:{facts.dataset.id}"}]
    card: JsonObject = {"modelParameters": parameters}
    if facts.candidate is not None:
        card["quantitativeAnalysis"] = {"performanceMetrics": [_metric(one) for one in facts.candidate.scores]}
    considered = {
        "users": _said(found, "affected"),
        "useCases": _said(found, "intended_use"),
        "technicalLimitations": _said(found, "limitations") + _said(found, "out_of_scope_use", "Not for: "),
        "ethicalConsiderations": [{"name": words} for words in _said(found, "risks")],
        "fairnessAssessments": [{"groupAtRisk": ", ".join(facts.configured.governing.slices), "harms": words}
                                for words in _said(found, "bias")],
    }  # fmt: skip
    considered = {name: words for name, words in considered.items() if words}
    return {**card, "considerations": considered} if considered else card


def _format(facts: Facts) -> str:
    return "application/json" if facts.task.kind == "extract" or len(facts.task.fields) > 1 else "text/plain"


def _metric(score: Score) -> JsonObject:
    ends = {"lowerBound": f"{score.low:.6g}", "upperBound": f"{score.high:.6g}"}
    made: JsonObject = {"type": score.metric, "value": f"{score.value:.6g}", "confidenceInterval": ends}
    return {**made, "slice": visible(score.slice)} if score.slice else made


def _said(found: Mapping[str, Field], name: str, before: str = "") -> list[str]:
    return [] if found[name].state == "missing" else [before + visible(found[name].words)]


def _base(facts: Facts) -> list[JsonObject]:
    manifest, base = facts.manifest, facts.base
    if manifest is None or not manifest.base_digest:
        return []
    part: JsonObject = {"type": "machine-learning-model", "bom-ref": f"base:{manifest.base}", "name": manifest.base}
    if base is not None:
        part["licenses"] = [{"license": {"id": base.license} if base.license in SPDX else {"name": base.license}}]
        part["externalReferences"] = [{"type": "distribution", "url": f"https://huggingface.co/{base.hub}"}]
    return [{**part, **_hashes(manifest.base_digest)}]


def _dataset(facts: Facts) -> list[JsonObject]:
    if facts.dataset is None:
        return []
    one = facts.dataset
    counts = ", ".join(f"{n:,} {split}" for split, n in one.counts.items())
    data = {"type": "dataset", "name": f"rows of {one.task}", "description": f"{counts} rows"}
    return [{"type": "data", "bom-ref": f"data:{one.id}", "name": f"rows of {one.task}", "version": one.id[:12],
             "data": [data], **_hashes(one.id)}]  # fmt: skip


def _files(facts: Facts) -> list[JsonObject]:
    """The files of the artefact: the adapter or the weights, the tokenizer, and what they were checked with."""
    if facts.manifest is None:
        return []
    return [
        {"type": "file", "bom-ref": f"file:{visible(name)}", "name": visible(name), **_part_of(name), **_hashes(sha)}
        for name, sha in sorted(facts.manifest.files.items())
    ]


def _part_of(name: str) -> JsonObject:
    """What a file of the artefact is, told from the folder that it lies in."""
    said = {"adapter": "the adapter that training made (LoRA)", "model": "the model as it is served"}
    folder = name.partition("/")[0]
    return {"description": said[folder]} if "/" in name and folder in said else {}


def _libraries(facts: Facts) -> list[JsonObject]:
    return [
        {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        for name, version in sorted(facts.libraries.items())
        for purl in [f"pkg:pypi/{name}@{quote(version)}"]
    ]


def _hashes(sha: str) -> JsonObject:
    return {"hashes": [{"alg": "SHA-256", "content": sha}]} if SHA.fullmatch(sha) else {}
