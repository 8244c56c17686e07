"""Which addresses are public, against Python's own registry and by name."""

from __future__ import annotations

import ipaddress
import random
import socket

import pytest

from shoestring.server.media.addresses import is_own, is_public


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "100.63.0.1", "172.32.0.1", "2606:4700::1111"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)
    if ":" not in address:
        assert is_public(f"::ffff:{address}")
        assert is_public(f"64:ff9b::{address}")


@pytest.mark.parametrize(
    "address",
    ["", "localhost", "1.1.1", "1.1.1.1:80", "2606:4700::1111%eth0", "fe80::1%lo", "2606:4700::5efe:10.0.0.1", "[::1]"],
)
def test_what_is_no_public_address(address: str) -> None:
    assert not is_public(address)


def test_no_address_is_public_that_python_calls_private() -> None:
    chosen = random.Random(7)
    for _ in range(20_000):
        four = ipaddress.IPv4Address(chosen.getrandbits(32))
        six = ipaddress.IPv6Address(chosen.getrandbits(128) >> chosen.choice((0, 0, 3, 32, 80, 96)))
        for address in (four, six):
            if not address.is_global or address.is_multicast or address.is_link_local or address.is_loopback:
                inner = int(six) >> 32 in (0xFFFF, 0x64FF9B << 64)
                assert inner or not is_public(str(address)), address


def test_this_machines_own_addresses_are_known() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("93.184.215.14")
    assert not is_own("no address")
    own = {str(a[4][0]) for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    assert all(is_own(address) for address in own if ipaddress.ip_address(address).is_loopback)
