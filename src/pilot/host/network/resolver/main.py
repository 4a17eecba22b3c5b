"""The resolver's process: `python -m pilot.host.network.resolver.main --directory …`. Ends with SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import sys

from ... import logs, supervised
from .. import answering, control
from ..addresses import parse_network
from ..never import Never
from .servers import parse_server
from .upstream import Upstream
from .zones import zones


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    supervised.join()
    logs.begin("info")
    answering.raise_limits()
    never = Never(tuple(map(parse_network, options.allow)), tuple(map(parse_network, options.own)))
    served = zones(options.directory, Upstream(tuple(map(parse_server, options.upstream))), never)
    asyncio.run(answering.serve(options.directory, control.RESOLVER, served))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pilot-resolver", description="answers the names that machines ask for")
    parser.add_argument("--directory", required=True, help="where zones are, and the socket")
    parser.add_argument("--upstream", action="append", default=[], metavar="ADDRESS", help="instead of resolv.conf's")
    parser.add_argument("--allow", action="append", default=[], metavar="CIDR", help="of what is not public")
    parser.add_argument("--own", action="append", default=[], metavar="CIDR", help="machines' own addresses")
    return parser


if __name__ == "__main__":
    sys.exit(main())
