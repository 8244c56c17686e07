"""Which addresses of the Internet a client may make the server reach: public ones, of other machines.

IANA's registries of special-purpose addresses for IPv4 and IPv6 (as of 2025), and what clouds and operators add.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import closing

_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; clouds put their metadata there
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's own services, as each of its machines sees them
        "169.254.0.0/16",  # link-local, and the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
#: The only part of IPv6 that is public, and what in it is not.
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocols: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, whose relays reach any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
#: IPv6 addresses that end in the IPv4 address which they reach: mapped ones, and those of NAT64.
_AROUND_4 = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))
#: What ISATAP puts before the IPv4 address in the lower half of an address.
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_public(address: str) -> bool:
    """Whether an address, written as numbers, belongs to the public Internet. False for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _NOT_PUBLIC_4)
    if parsed.scope_id is not None:
        return False
    lower = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    if any(parsed in network for network in _AROUND_4):
        return is_public(str(lower))
    if int(parsed) >> 32 & 0xFFFFFFFF in _ISATAP:
        return False
    return parsed in _GLOBAL_6 and not any(parsed in network for network in _NOT_PUBLIC_6)


def is_own(address: str) -> bool:
    """Whether an address is this machine's, so that programs here might answer. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        # Of a UDP socket this only chooses the route; a machine reaches itself from the address it calls.
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            probe.connect((address, 9))
            return ipaddress.ip_address(probe.getsockname()[0]) == ipaddress.ip_address(address)
    except (OSError, ValueError):
        return False
