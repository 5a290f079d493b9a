"""Addresses: whose connection it is, by the socket and by what a trusted proxy says."""

import ipaddress
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

Address = IPv4Address | IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Proxies may add the port: AWS's load balancers do where `routing.http.xff_client_port.enabled` is
# set (Elastic Load Balancing, "HTTP headers and Application Load Balancers").
_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_V6: Final = 1 << 64


def parse(text: str) -> Address:
    """An address, an IPv4 one where IPv6 only wraps it. Raises ValueError."""
    address = ipaddress.ip_address(text)
    wrapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return wrapped or address


def bucket_of(address: Address) -> int:
    """What is counted as one: an IPv4 address, or an IPv6 /64, of which a site has all."""
    if isinstance(address, IPv4Address):
        return int(address)
    return _V6 | int(address) >> 64


class Proxies:
    """The proxies whose word about others counts."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, address: Address) -> bool:
        return any(
            address.version == network.version and address in network for network in self._networks
        )

    def client(self, peer: Address, forwarded: Iterable[str]) -> Address:
        """Who is behind a trusted peer, by its X-Forwarded-For headers; else the peer itself.

        Each proxy adds at the right whom it heard from, so all that is left of the first address
        that is no trusted proxy may be made up.
        """
        if peer not in self:
            return peer
        for hop in reversed(",".join(forwarded).split(",")):
            try:
                address = parse(_without_port(hop.strip()))
            except ValueError:
                return peer
            if address not in self:
                return address
        return peer


def _without_port(hop: str) -> str:
    if found := _WITH_PORT.fullmatch(hop):
        return found[1] or found[2]
    return hop
