"""Whom to ask for names: as an operator writes it, and as resolv.conf(5) has it. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress

from .... import errors


@dataclasses.dataclass(frozen=True)
class Server:
    address: str
    port: int = 53


def parse_server(text: str) -> Server:
    """`9.9.9.9`, `9.9.9.9:5353`, `2620:fe::fe` or `[2620:fe::fe]:5353`. `PilotError` for anything else."""
    address, port = text, "53"
    if text.startswith("[") and "]" in text:
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise errors.PilotError(
            f"resolver {text!r}: not an address", hint="as in 9.9.9.9 or [2620:fe::fe]:53"
        ) from error
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise errors.PilotError(f"resolver {text!r}: no such port")
    return Server(address, int(port))


def parse_resolv_conf(text: str) -> tuple[Server, ...]:
    """The `nameserver` lines of resolv.conf(5) that are addresses, with a scope or without."""
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                servers.append(parse_server(words[1]))
            except errors.PilotError:
                continue  # the C library skips it, too
    return tuple(servers)
