"""Whose connection it is."""

from ipaddress import ip_network

import pytest

from consumer.edges import addresses
from consumer.edges.addresses import Proxies, bucket_of

PROXIES = Proxies([ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")])


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7 , 10.9.9.9"], "203.0.113.7"),
        (["203.0.113.7:1234"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]:1234"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, 2001:db8:1::2"], "203.0.113.7"),
        ([], "10.0.0.1"),
        (["10.9.9.9"], "10.0.0.1"),
        (["203.0.113.7, unknown"], "10.0.0.1"),
        (["203.0.113.7, "], "10.0.0.1"),
        (["203.0.113.7:x"], "10.0.0.1"),
        (["999.0.113.7"], "10.0.0.1"),
        (["\x00" * 4_000], "10.0.0.1"),
    ],
)
def test_the_nearest_address_that_is_no_proxy(forwarded: list[str], client: str) -> None:
    """What stands left of it may be made up; garbage leaves the proxy's own address."""
    peer = addresses.parse("10.0.0.1")
    assert str(PROXIES.client(peer, forwarded)) == client


@pytest.mark.parametrize("peer", ["203.0.113.9", "127.0.0.1", "::1", "11.0.0.1"])
def test_only_a_trusted_proxy_is_believed(peer: str) -> None:
    """Anyone can send the header."""
    assert PROXIES.client(addresses.parse(peer), ["198.51.100.1"]) == addresses.parse(peer)


def test_an_ipv4_address_in_ipv6_is_the_ipv4_address() -> None:
    """As a socket that listens to both tells it."""
    assert addresses.parse("::ffff:127.0.0.1").is_loopback
    assert addresses.parse("::ffff:10.0.0.1") in PROXIES


def test_an_ipv6_site_is_counted_as_one() -> None:
    """Whoever has one of its addresses has 2^64."""
    one, same, other = (
        bucket_of(addresses.parse(text))
        for text in ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1")
    )
    assert one == same != other


def test_no_ipv6_site_is_counted_as_an_ipv4_address() -> None:
    """Their numbers are kept apart."""
    assert bucket_of(addresses.parse("::1:0:0:0:0")) != bucket_of(addresses.parse("0.0.0.1"))
