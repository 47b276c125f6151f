"""Where a connection may lead: which addresses are on the premises, and which places a region has. It looks nothing up.

An address is judged as the one that is reached in the end: IPv4 written inside IPv6 (mapped, NAT64, 6to4, Teredo) is
taken out of it first. Special networks are those of the IANA registries (RFC 6890) as of 2026.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from insource.nouns.base import Noun

PREMISES = "premises"
HERE = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
# This host, link-local with the metadata of clouds in it, multicast, reserved; then metadata that lies elsewhere: of
# Alibaba, Azure, Oracle, and in IPv6 of AWS and Google.
NEVER = (
    "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "fe80::/10", "fec0::/10", "ff00::/8",
    "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128",
)  # fmt: skip
NOT_PUBLIC = (
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1",
)  # fmt: skip
NAT64, MAPPED = "64:ff9b::/96", "::ffff:0:0/96"
NAME = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$")  # what ends so is read as IPv4, in whatever form
# IPv6 that leads to an IPv4 address, and where that stands in its 128 bits (RFC 4291, 2765, 6052, 3056, 4380).
CARRIES: tuple[tuple[str, Callable[[int], int]], ...] = (
    ("::/96", lambda bits: bits),
    ("::ffff:0:0:0/96", lambda bits: bits),
    (NAT64, lambda bits: bits),
    ("64:ff9b:1::/48", lambda bits: bits),
    ("64:ff9b:1::/48", lambda bits: (bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF),
    ("2002::/16", lambda bits: bits >> 80),
    ("2001::/32", lambda bits: bits >> 64),
    ("2001::/32", lambda bits: ~bits),
)
ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214: the first half of the interface's number

Address = IPv4Address | IPv6Address


class Networks(Noun, frozen=True, kw_only=True):
    """`[networks]`: a region → its places, each a network (10.20.0.0/16) or a name (llm.example.com, *.eu.example).

    The premises have networks only, for a name leads wherever its DNS says; without an entry they are loopback and the
    private networks of RFC 1918 and RFC 4193. A name lends its region public addresses, others take a network. A region
    without an entry is not held to any. `NEVER` is not reached from anywhere, whatever is listed.
    """

    places: dict[str, tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        for region, places in self.places.items():
            for place in places:
                if fault := _fault(region, place):
                    raise ValueError(f"networks.{region}: {fault}")

    def held(self, region: str) -> bool:
        """Whether connections to `region` are held to a list of places."""
        return region == PREMISES or region in self.places

    def listed(self, region: str) -> tuple[str, ...]:
        """The places of `region`, those it has without an entry included."""
        return self.places.get(region, HERE if region == PREMISES else ())

    def refusal(self, region: str, host: str, address: str) -> str:
        """Why `address`, to which `host` was resolved, may not be connected to for `region`; "" where it may."""
        found = _address(address)
        if found is None:
            return f"{address!r} is no plain IP address"
        reached = (found, *_carried(found))
        if any(_within(one, NEVER) for one in reached):
            return f"{address} is of this host, link-local, metadata or multicast: it is never called"
        if not self.held(region):
            return ""
        places = self.listed(region)
        if _within(found, tuple(place for place in places if not NAME.fullmatch(place))):
            return ""
        if not any(_named(host, place) for place in places):
            return f"{address} is outside {region}"
        if _private(reached):
            return f"{address} is a private address, and the name {host} lends {region} public ones only"
        return ""

    def beyond(self, region: str, host: str) -> str:
        """Why a proxy may not be asked for `host` for `region`; "" where it may. It looks names up itself, not we.

        A proxy could take a text anywhere: for a region that has no list it is never asked, and else for what the list
        names, or for an address within it.
        """
        if region and not self.held(region):
            return f"{region} has no list under [networks], and a proxy could take it anywhere"
        if _address(host) is not None or NUMBER.search(host):
            return self.refusal(region, host, host)
        named = not region or any(_named(host, place) for place in self.places.get(region, ()))
        return "" if named else f"a proxy would look {host} up, and {region} lists no such name"


def is_public(address: str) -> bool:
    """Whether `address` is one of the public network, and leads to none that is not."""
    found = _address(address)
    reached = () if found is None else (found, *_carried(found))
    return bool(reached) and not any(_within(one, NEVER) for one in reached) and not _private(reached)


def _private(reached: tuple[Address, ...]) -> bool:
    """Whether one of them is no public address. That of a NAT64 is what it leads to."""
    return any(_within(one, NOT_PUBLIC) and not _within(one, (NAT64,)) for one in reached)


def _fault(region: str, place: str) -> str:
    """What is wrong with a place of a region; "" where nothing is."""
    if NAME.fullmatch(place):
        names = f"{place} is a name, and names lead where their DNS says: give networks, 10.20.0.0/16"
        return names if region == PREMISES else ""
    try:
        network = ip_network(place)
    except ValueError as error:
        return f"{place!r} is neither a network (10.20.0.0/16) nor a name (llm.example.com): {error}"
    if _inside(network, ip_network(MAPPED)):
        return f"{place} is IPv4: write it so"
    never = any(_inside(network, ip_network(one)) for one in NEVER)
    return f"{place} is never called: this host, link-local, metadata or multicast" if never else ""


def _inside(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.subnet_of(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.subnet_of(other)


def _address(text: str) -> Address | None:
    """The address that `text` spells in its one plain form; IPv4 that is mapped into IPv6 is IPv4. None for others."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return found
    return None if found.scope_id else found.ipv4_mapped or found


def _carried(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    for network, part in CARRIES:
        if bits > 1 and _within(address, (network,)):
            yield IPv4Address(part(bits) & 0xFFFF_FFFF)
    if bits >> 32 & 0xFFFF_FFFF in ISATAP:
        yield IPv4Address(bits & 0xFFFF_FFFF)


def _within(address: Address, networks: tuple[str, ...]) -> bool:
    return any(address in network for network in map(_network, networks) if network.version == address.version)


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)


def _named(host: str, place: str) -> bool:
    """Whether `place` is the name `host`, or a pattern that it fits."""
    host = host.rstrip(".").lower()
    if not NAME.fullmatch(place):
        return False
    return host.endswith(place[1:]) if place.startswith("*.") else host == place
