"""Nobody reaches what is not listed: the chart's policies, evaluated over everybody who could be there."""

import copy
from itertools import product
from typing import Any

import pytest
from deployed import CASES, FULL, of_kind, pods, rendered
from reach import Place, allowed

PORTS = (22, 53, 80, 443, 3306, 5432, 8000, 8080, 9090)
HERE = "llm"
BEYOND = {
    "database": "10.20.30.5",
    "beside the database": "10.20.30.17",
    "gpu box": "10.20.0.7",
    "beside the gpu box": "10.20.0.8",
    "vendor in the EU": "198.51.100.20",
    "vendor in the US": "203.0.113.9",
    "anywhere": "8.8.8.8",
    "metadata of the cloud": "169.254.169.254",
    "the cluster's own API": "10.96.0.1",
}


def policies(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = copy.deepcopy(of_kind(manifests, "NetworkPolicy"))
    for each in found:
        each["metadata"]["namespace"] = HERE
    return found


def labelled(template: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(template["metadata"]["labels"].items()))


def everybody(manifests: list[dict[str, Any]]) -> list[Place]:
    ours = [
        Place(name, f"10.244.0.{number}", HERE, labelled(template))
        for number, (name, template) in enumerate(pods(manifests), 10)
    ]
    gateway = next(each for each in ours if each.name == "insource")
    others = [
        Place("stranger beside", "10.244.1.1", HERE, (("app", "other"),)),
        Place("gateway of another release", "10.244.1.2", HERE, tuple({**dict(gateway.labels),
              "app.kubernetes.io/instance": "other"}.items())),
        Place("gateway's labels elsewhere", "10.244.1.3", "elsewhere", gateway.labels),
        Place("vllm's labels elsewhere", "10.244.1.4", "elsewhere", tuple({**dict(gateway.labels),
              "app.kubernetes.io/component": "vllm"}.items())),
        Place("caller", "10.244.1.5", "apps"),
        Place("prometheus", "10.244.1.6", "monitoring"),
        Place("dns", "10.244.1.7", "kube-system", (("k8s-app", "kube-dns"),)),
        Place("beside dns", "10.244.1.8", "kube-system", (("k8s-app", "other"),)),
        Place("elsewhere", "10.244.1.9", "elsewhere"),
    ]  # fmt: skip
    return [*ours, *others, *(Place(name, ip) for name, ip in BEYOND.items())]


def ways(manifests: list[dict[str, Any]], rules: list[dict[str, Any]] | None = None) -> set[tuple[str, str, int]]:
    """Every (source, target, port) that comes about and has one of our pods at an end."""
    rules, there = policies(manifests) if rules is None else rules, everybody(manifests)
    ours = {name for name, _ in pods(manifests)}
    return {
        (source.name, target.name, port)
        for source, target, port in product(there, there, PORTS)
        if source != target and {source.name, target.name} & ours and allowed(rules, source, target, port)
    }


def callers(*targets: str) -> set[tuple[str, str, int]]:
    return {(who, "insource", 8080) for who in targets}


OUT = [("insource", "insource-desk", "insource-nightly"), ("insource", "insource-desk")]
EXPECTED = {
    "plain": {(who, "dns", 53) for who in OUT[1]},
    "small": callers("caller", "prometheus") | {(who, "dns", 53) for who in OUT[1]},
    "full": callers("caller", "prometheus")
    | {
        (who, *to)
        for who in OUT[0]
        for to in [
            ("dns", 53), ("database", 5432), ("gpu box", 8000), ("vendor in the EU", 443), ("insource-vllm", 8000),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("case", EXPECTED)
def test_what_is_listed_can_be_reached_and_nothing_else(case: str) -> None:
    assert ways(rendered(CASES[case])) == EXPECTED[case]


@pytest.mark.parametrize("case", ["medium", "large"])
def test_of_the_sized_examples_nobody_but_the_gateway_reaches_an_engine_and_an_engine_reaches_nobody(case: str) -> None:
    found = ways(rendered(CASES[case]))
    assert {source for source, target, _ in found if target == "insource-vllm"} == set(OUT[0])
    assert not [target for source, target, _ in found if source == "insource-vllm"]
    assert {target for source, target, _ in found if source in OUT[0]} == {"dns", "insource-vllm"}
    assert {source for source, target, _ in found if target == "insource"} == {"caller", "prometheus"}


def test_names_are_asked_of_the_clusters_dns_alone() -> None:
    manifests = rendered(FULL)
    there = {each.name: each for each in everybody(manifests)}
    rules = policies(manifests)
    said = [to.name for to in there.values() if allowed(rules, there["insource"], to, 53, "UDP")]
    assert said == ["dns"]
    assert not [to for to in there.values() if allowed(rules, there["insource-vllm"], to, 53, "UDP")]


def test_a_whole_namespace_is_closed_also_to_pods_that_come_later() -> None:
    manifests = rendered(FULL)
    there = {each.name: each for each in everybody(manifests)}
    stranger, rules = there["stranger beside"], policies(manifests)
    assert not [to for to in there.values() if allowed(rules, stranger, to, 443)]
    assert not [who for who in there.values() if who != stranger and allowed(rules, who, stranger, 443)]


@pytest.mark.parametrize("number", range(4))
def test_each_policy_is_needed(number: int) -> None:
    """Without any one of them something is open that should not be, or closed that should be open."""
    manifests = rendered(FULL)
    rules = policies(manifests)
    assert len(rules) == 4
    assert ways(manifests, rules[:number] + rules[number + 1 :]) != EXPECTED["full"]


def test_without_policies_everything_is_open_so_the_test_can_fail() -> None:
    manifests = rendered(FULL | {"network": {**FULL["network"], "policies": False}})
    assert not policies(manifests)
    assert ("insource-vllm", "anywhere", 443) in ways(manifests)
    assert ("elsewhere", "insource-vllm", 8000) in ways(manifests)


def test_the_rules_of_the_evaluation() -> None:
    """A few that people get wrong: two selectors in one peer hold together, in two peers each by itself."""
    me, friend = Place("me", "10.0.0.1", "a", (("x", "1"),)), Place("friend", "10.0.0.2", "b", (("y", "2"),))
    stranger = Place("stranger", "10.0.0.3", "b", (("y", "3"),))

    def let(*peers: dict[str, Any], ports: tuple[dict[str, Any], ...] = ()) -> list[dict[str, Any]]:
        rule = {"from": list(peers), "ports": list(ports)}
        spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}
        return [{"metadata": {"namespace": "a"}, "spec": spec}]

    space = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}}
    pod = {"podSelector": {"matchLabels": {"y": "2"}}}
    assert allowed(let(space | pod), friend, me, 80)
    assert not allowed(let(space | pod), stranger, me, 80)
    assert allowed(let(space, pod), stranger, me, 80)
    assert not allowed(let(pod), friend, me, 80), "a selector of pods alone is of the policy's own namespace"
    assert allowed(let(), stranger, me, 80), "an empty list of peers is everybody"
    assert not allowed(let(space, ports=({"port": 81},)), friend, me, 80)
    assert allowed(let(space, ports=({"port": 70, "endPort": 90},)), friend, me, 80)
    block = {"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.0.0.3/32"]}}
    assert allowed(let(block), friend, me, 80)
    assert not allowed(let(block), stranger, me, 80)
