"""The connectors' process: `python -m pilot.host.network.connectors.main --directory … --key …`. Ends with SIGTERM.

It reads what only root may read, and talks to machines and to the outside: no core of it is ever written.
"""

from __future__ import annotations

import argparse
import resource
import sys

import uvloop

from ... import logs, supervised
from ...fly.vault import Vault
from .. import answering, control
from ..addresses import parse_network
from ..never import Never
from ..resolver.servers import parse_server
from ..resolver.upstream import Upstream
from . import outside
from .desks import desks
from .names import Names


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    supervised.join()
    logs.begin("info")
    answering.raise_limits()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(options.key, "rb") as file:
        vault = Vault(file.read())
    never = Never(tuple(map(parse_network, options.allow)), tuple(map(parse_network, options.own)))
    names = Names(Upstream(tuple(map(parse_server, options.upstream))), never)
    served = desks(options.directory, vault, names, outside.trust())
    uvloop.run(answering.serve(options.directory, control.CONNECTORS, served))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pilot-connectors", description="attaches credentials to what machines ask")
    parser.add_argument("--directory", required=True, help="where grants are, and the socket")
    parser.add_argument("--key", required=True, metavar="FILE", help="what secrets are sealed with")
    parser.add_argument("--upstream", action="append", default=[], metavar="ADDRESS", help="instead of resolv.conf's")
    parser.add_argument("--allow", action="append", default=[], metavar="CIDR", help="of what is not public")
    parser.add_argument("--own", action="append", default=[], metavar="CIDR", help="machines' own addresses")
    return parser


if __name__ == "__main__":
    sys.exit(main())
