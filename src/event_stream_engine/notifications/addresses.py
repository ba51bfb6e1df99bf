"""Which network addresses a notification may go to: public ones, and those that a setting allows."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from event_stream_engine.kernel.errors import Invalid

Network = IPv4Network | IPv6Network
RESOLVE_SECONDS = 5.0
_COMPATIBLE = ip_network("::/96")
_NAT64 = ip_network("64:ff9b::/96")
_UNICAST = ip_network("2000::/3")


def is_allowed(address: str, private: Sequence[Network]) -> bool:
    """Tell whether an IP address is public, or in one of the networks that are allowed although they are not.

    An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4) is judged by that.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:  # a name: whoever connects to it would look it up once more
        return False
    inner = _find_inner(ip)
    if any(one in network for network in private for one in (ip, inner) if one is not None):
        return True
    if inner is not None:
        return is_allowed(str(inner), private)
    return ip.is_global and not ip.is_multicast and (ip.version == 4 or ip in _UNICAST)


def _find_inner(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(ip, IPv4Address):
        return None
    if ip in _COMPATIBLE or ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


async def check_host(host: str, private: Sequence[Network]) -> None:
    """Refuse a host any of whose addresses is not allowed. Errors: Invalid (`target`)."""
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise Invalid(f"The name server knows no host {host!r}. Check the spelling.", "target") from None
    for *_, (address, *_) in found:
        if not is_allowed(str(address), private):
            raise Invalid(
                f"{host} is at {address}, which is not a public address. If notifications may go there, add it to"
                " ESE_PRIVATE_TARGETS.",
                "target",
            )
