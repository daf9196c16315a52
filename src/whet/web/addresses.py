"""By which names a server may be called, and which of its addresses another machine can open."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["allowed", "host_name", "is_loopback", "reachable", "same_site"]


def is_loopback(host: str) -> bool:
    """Whether a host name or address, brackets around IPv6 allowed, means this machine."""
    name = host.strip("[]").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def host_name(host: str) -> str:
    """Return the host of a Host header, in lower case, without its port."""
    return (host if host.endswith("]") else host.rpartition(":")[0] or host).lower().rstrip(".")


def allowed(host: str, names: tuple[str, ...]) -> bool:
    """Whether a Host header names this machine itself, or one of ``names``.

    ``*.example.org`` allows every name below it.
    """
    name = host_name(host)
    return is_loopback(name) or any(
        name == known or (known.startswith("*.") and name.endswith(known[1:]))
        for known in (each.lower() for each in names)
    )


def same_site(origin: str, host: str, names: tuple[str, ...]) -> bool:
    """Whether an Origin header is of the pages that a Host header, or one of ``names``, serves.

    A proxy may call the server by another name than visitors do; then ``names`` knows theirs.
    """
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(place) and (place.lower() == host.lower() or _named(place, names))


def _named(place: str, names: tuple[str, ...]) -> bool:
    return not is_loopback(host_name(place)) and allowed(place, names)


def reachable(host: str) -> str:
    """Return an address of this machine that others can open, for a server that listens on all.

    Nothing is sent: a datagram socket that is connected only asks which way packets would go.
    """
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    v6 = address.version == 6
    family, beyond = (socket.AF_INET6, "2001:db8::1") if v6 else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((beyond, 9))
            return str(probe.getsockname()[0])
    except OSError:  # no way out of here
        return socket.gethostname() or "localhost"
