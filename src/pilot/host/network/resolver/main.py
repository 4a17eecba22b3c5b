"""The resolver's process: `python -m pilot.host.network.resolver.main --directory …`. Ends with SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys

import msgspec

from .... import errors
from ....ids import MachineId
from ....kernel import fds
from ... import logs, supervised
from .. import control
from ..addresses import parse_network
from ..never import Never
from .servers import parse_server
from .upstream import Upstream
from .zones import Zones

_QUESTION_BYTES = 4096


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    supervised.join()
    logs.begin("info")
    _raise_limits()
    never = Never(tuple(map(parse_network, options.allow)), tuple(map(parse_network, options.own)))
    zones = Zones(options.directory, Upstream(tuple(map(parse_server, options.upstream))), never)
    asyncio.run(_serve(options.directory, zones))
    return 0


async def _serve(directory: str, zones: Zones) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await zones.load()
    # Who finds the socket may count on what was there already.
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = control.socket_path(directory)
    with fds.short_path(os.path.dirname(path)) as short:
        temporary = os.path.join(short, f".resolver.{os.getpid()}")
        server = await asyncio.start_unix_server(lambda r, w: _answer(r, w, zones), temporary, limit=_QUESTION_BYTES)
        os.rename(temporary, os.path.join(short, os.path.basename(path)))
    await stopping.wait()
    server.close()
    zones.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, zones: Zones) -> None:
    try:
        question = msgspec.json.decode(await reader.readline(), type=control.Question)
        answer = control.Answer(msgspec.Raw(msgspec.json.encode(await _carry_out(question, zones))))
    except (errors.PilotError, OSError, ValueError) as error:
        answer = control.Answer(error=str(error))
    writer.write(msgspec.json.encode(answer) + b"\n")
    try:
        await writer.drain()
    except OSError:
        pass  # who asked has gone
    writer.close()


async def _carry_out(question: control.Question, zones: Zones) -> object:
    machine = MachineId(question.machine)
    if question.op == "sync":
        await zones.sync(machine)
        return None
    if question.op == "status":
        return zones.counts(machine)
    if question.op == "settings":
        return sys.argv[1:]
    raise errors.StateError(f"there is no {question.op!r}")


def _raise_limits() -> None:
    """Each machine takes six descriptors."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pilot-resolver", description="answers the names that machines ask for")
    parser.add_argument("--directory", required=True, help="where zones are, and the socket")
    parser.add_argument("--upstream", action="append", default=[], metavar="ADDRESS", help="instead of resolv.conf's")
    parser.add_argument("--allow", action="append", default=[], metavar="CIDR", help="of what is not public")
    parser.add_argument("--own", action="append", default=[], metavar="CIDR", help="machines' own addresses")
    return parser


if __name__ == "__main__":
    sys.exit(main())
