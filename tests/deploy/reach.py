"""Who can reach whom under NetworkPolicies, as networking.k8s.io/v1 says it.

A pod that no policy selects for a direction lets everything through in that direction. One that is selected lets
through what any rule of any policy that selects it names, and nothing else. Traffic between two pods takes both: the
source has to let it out, the target has to let it in. A rule without `ports` names all of them, one without `from` or
`to` everybody; an empty `from` or `to` too. Beyond the cluster there are no policies.
"""

import ipaddress
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A pod (with its labels, in a namespace), or with `namespace` None an address beyond the cluster."""

    name: str
    ip: str
    namespace: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


def allowed(policies: list[dict[str, Any]], source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection comes about."""
    out = _lets(policies, source, "Egress", target, port, protocol)
    return out and _lets(policies, target, "Ingress", source, port, protocol)


def _lets(policies: list[dict[str, Any]], at: Place, way: str, peer: Place, port: int, protocol: str) -> bool:
    if at.namespace is None:
        return True
    of_this = [each for each in policies if _governs(each, at, way)]
    rules = [rule for each in of_this for rule in each["spec"].get(way.lower()) or ()]
    key = "to" if way == "Egress" else "from"
    return not of_this or any(
        _port(rule.get("ports"), port, protocol) and _peers(rule.get(key), peer, at.namespace) for rule in rules
    )


def _governs(policy: dict[str, Any], pod: Place, way: str) -> bool:
    spec = policy["spec"]
    ways = spec.get("policyTypes") or ["Ingress", *["Egress"] * ("egress" in spec)]
    here = policy["metadata"]["namespace"] == pod.namespace
    return here and way in ways and _selects(spec["podSelector"], dict(pod.labels))


def _port(ports: list[dict[str, Any]] | None, port: int, protocol: str) -> bool:
    if not ports:
        return True
    return any(
        each.get("protocol", "TCP") == protocol
        and ("port" not in each or each["port"] <= port <= each.get("endPort", each["port"]))
        for each in ports
    )


def _peers(peers: list[dict[str, Any]] | None, who: Place, namespace: str) -> bool:
    return not peers or any(_peer(each, who, namespace) for each in peers)


def _peer(peer: dict[str, Any], who: Place, namespace: str) -> bool:
    if "ipBlock" in peer:
        block, ip = peer["ipBlock"], ipaddress.ip_address(who.ip)
        inside = ip in ipaddress.ip_network(block["cidr"])
        return inside and not any(ip in ipaddress.ip_network(each) for each in block.get("except", ()))
    if who.namespace is None:
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": who.namespace}):
            return False
    elif who.namespace != namespace:
        return False
    return "podSelector" not in peer or _selects(peer["podSelector"], dict(who.labels))


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    exact = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return exact and all(_expression(each, labels) for each in selector.get("matchExpressions") or ())


def _expression(each: dict[str, Any], labels: dict[str, str]) -> bool:
    has, values = each["key"] in labels, each.get("values", ())
    inside = labels.get(each["key"]) in values
    by = {"In": has and inside, "NotIn": not inside, "Exists": has, "DoesNotExist": not has}
    return by[each["operator"]]
