"""The Terraform example: parsed; what it names is declared; the database is nobody's but the cluster's."""

import re
import shutil
import subprocess
from typing import Any

import hcl2
import pytest
from deployed import DEPLOY, size

FOLDER = DEPLOY / "terraform" / "aws"
FILES = sorted(FOLDER.glob("*.tf"))
TEXT = "\n".join(path.read_text("utf-8") for path in FILES)


def plain(value: Any) -> Any:
    """As hcl2 has it, without the quotes of texts and its own notes."""
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items() if not str(key).startswith("__")}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.strip('"') if isinstance(value, str) else value


def blocks(kind: str) -> list[dict[str, Any]]:
    """Every block of a kind, in order."""
    return [each for path in FILES for each in plain(hcl2.loads(path.read_text("utf-8"))).get(kind, [])]


def resources() -> dict[tuple[str, str], dict[str, Any]]:
    return {(kind, name): body for each in blocks("resource") for kind, named in each.items()
            for name, body in named.items()}  # fmt: skip


def test_every_variable_is_declared_described_and_used() -> None:
    declared = {name: body for each in blocks("variable") for name, body in each.items()}
    used = set(re.findall(r"\bvar\.(\w+)", TEXT))
    assert used == set(declared)
    assert all(body["description"] and body["type"] for body in declared.values())


def test_every_resource_that_is_referred_to_is_there() -> None:
    named = set(re.findall(r"\b(aws_\w+)\.(\w+)\.", TEXT))
    there = set(resources())
    assert {(kind, name) for kind, name in named if f"data.{kind}.{name}" not in TEXT} <= there


def test_the_database_is_reached_from_the_clusters_machines_only() -> None:
    found = resources()
    database = found["aws_db_instance", "database"]
    assert database["publicly_accessible"] is False
    assert database["storage_encrypted"] is True
    assert database["deletion_protection"] is True
    rules = [body for (kind, _), body in found.items() if kind == "aws_vpc_security_group_ingress_rule"]
    assert len(rules) == 2
    assert all("cidr_ipv4" not in rule and "local.nodes" in rule["referenced_security_group_id"] for rule in rules)
    assert not re.search(r"0\.0\.0\.0/0|::/0", TEXT)


def test_the_password_of_the_database_stays_as_the_secret_has_it_and_is_in_no_file_of_terraforms() -> None:
    database = resources()["aws_db_instance", "database"]
    assert "manage_master_user_password" not in database, "RDS would change it every seven days"
    assert "password" not in database, "that is in the state"
    assert (database["password_wo"], database["password_wo_version"]) == (
        "${var.database_password}", "${var.database_password_version}",
    )  # fmt: skip
    variables = {name: body for each in blocks("variable") for name, body in each.items()}
    assert variables["database_password"]["ephemeral"] is variables["database_password"]["sensitive"] is True
    assert "default" not in variables["database_password"]


def test_the_bucket_is_private_versioned_and_encrypted() -> None:
    kinds = {kind for kind, _ in resources()}
    assert {"aws_s3_bucket_versioning", "aws_s3_bucket_server_side_encryption_configuration"} <= kinds
    block = resources()["aws_s3_bucket_public_access_block", "backups"]
    assert {value for key, value in block.items() if key != "bucket"} == {True}


def test_the_provider_is_pinned() -> None:
    assert re.search(r'source = "hashicorp/aws", version = "~> \d+\.\d+"', TEXT)


def test_its_example_has_the_machines_of_the_values_of_that_size() -> None:
    said, values = plain(hcl2.loads((FOLDER / "medium.tfvars").read_text("utf-8"))), size("medium")
    assert said["gateway_machines"] == values["gateway"]["replicas"]
    assert said["gpu_machines"] == values["vllm"]["replicas"]
    for kind, about in (("gateway", values["gateway"]), ("gpu", values["vllm"])):
        assert said[f"{kind}_machine"] == about["nodeSelector"]["node.kubernetes.io/instance-type"]
    declared = {name: body for each in blocks("variable") for name, body in each.items()}
    assert {key for key in said if not key.startswith("__")} <= set(declared)
    secrets = {name for name, body in declared.items() if body.get("ephemeral")}
    assert {name for name, body in declared.items() if "default" not in body} - secrets <= set(said)
    assert not secrets & set(said)


@pytest.mark.skipif(not shutil.which("terraform"), reason="no terraform here")
def test_terraform_finds_it_well_formed() -> None:
    done = subprocess.run(["terraform", "fmt", "-check", "-diff", str(FOLDER)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
