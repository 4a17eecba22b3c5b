"""The `pilotd` command."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Mapping

from .. import errors, standard
from ..kernel import files
from ..machine import amounts
from . import daemon, logs
from .fly import addresses
from .ingress import certificates
from .network.addresses import DEFAULT_RANGE, parse_network, parse_range
from .network.plan import LIMIT_NAMES, parse_limits
from .network.policy import Egress
from .network.resolver.servers import parse_server
from .services import creation_rate
from .services.addresses import DEFAULT_DOMAIN, Domain
from .services.fly_rest import AFTER_S
from .services.image_bases import KEEP_S
from .vmm import Size


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit status."""
    closed = standard.open_standard()
    options = _parser().parse_args(arguments)
    if 1 in closed and (options.command == "audit" or (options.command == "backup" and options.file == "-")):
        print(f"pilotd: {options.command}: stdout is closed: it would be written nowhere", file=sys.stderr)
        return 1
    if options.command == "ca":
        return _show_authority(options)
    if options.command == "doctor":
        return _doctor(options)
    if options.command in _OF_OPERATORS:
        return _told(lambda: _OF_OPERATORS[options.command](options))
    logs.begin(options.log_level)
    try:
        settings = _settings(options)
    except errors.PilotError as error:
        print(f"pilotd: {error}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return 2
    return daemon.run(settings)


def _told(act: Callable[[], None]) -> int:
    try:
        act()
    except errors.PilotError as error:
        print(f"pilotd: {error}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return 1
    return 0


def _back_up(options: argparse.Namespace) -> None:
    from . import backup

    try:
        with files.whole(options.file, mode=0o600) as out:
            backup.write(options.state_dir, out)
    except OSError as error:
        raise errors.HostError(f"write {options.file}: {(error.strerror or str(error)).lower()}") from error


def _restore(options: argparse.Namespace) -> None:
    from . import backup

    with contextlib.ExitStack() as stack:
        try:
            source = sys.stdin.buffer if options.file == "-" else stack.enter_context(open(options.file, "rb"))
        except OSError as error:
            raise errors.HostError(f"read {options.file}: {(error.strerror or str(error)).lower()}") from error
        about = backup.restore(options.state_dir, source)
    print(f"restored {options.state_dir} as of {about.made_at} (pilotd {about.pilotd})")


def _drain(options: argparse.Namespace) -> None:
    from . import draining

    draining.drain(options.state_dir, options.patience)
    print(f"{options.state_dir}: pilotd has ended, and nothing of it runs")


def _audit(options: argparse.Namespace) -> None:
    from .audit import reading

    found: Iterable[bytes] = (f"{name}\n".encode() for name in reading.subjects_of(options.state_dir))
    try:
        for piece in found if options.log is None else reading.of_directory(options.state_dir, options.log):
            files.write_all(sys.stdout.fileno(), piece)
    except OSError as error:
        raise errors.HostError(f"audit: {(error.strerror or str(error)).lower()}") from error


_OF_OPERATORS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "backup": _back_up,
    "restore": _restore,
    "drain": _drain,
    "audit": _audit,
}


def _doctor(options: argparse.Namespace) -> int:
    from . import doctor

    try:
        host, port = daemon.parse_listen(options.listen)
    except errors.PilotError as error:
        print(f"pilotd: {error}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return 2
    return doctor.run(doctor.checks(options.state_dir, host, port, options.isolation), as_json=options.json)


_LEAST = {"audit_mib": 2, "disk_gib": 1, "quota_gib": 1, "memory_mib": 128, "cpus": 1, "pids": 128}  # of the others: 0


def _settings(options: argparse.Namespace) -> daemon.Settings:
    host, port = daemon.parse_listen(options.listen)
    for name, most in (
        ("disk_gib", 1 << 20),
        ("quota_gib", 1 << 20),
        ("keep_free_mib", 1 << 30),
        ("audit_mib", 1 << 20),
        ("pool", 10_000),
        ("machine_pool", 10_000),
        ("cache_bytes", 1 << 50),
        ("warm_after", 1e9),
        ("cold_after", 1e9),
        ("terminal_idle", 1e9),
        ("keep_images", 1e9),
        ("autostop_after", 1e9),
        ("memory_mib", 1 << 20),
        ("cpus", 256),
        ("pids", 1 << 22),
    ):
        _check_size(f"--{name.replace('_', '-')}", getattr(options, name), _LEAST.get(name, 0), most)
    if options.machine_pool and options.isolation == "vm":
        raise errors.PilotError("--machine-pool: a virtual machine has the disks that it was started with")
    if options.store is None and (options.durability is not None or options.cache_bytes is not None):
        raise errors.PilotError("--durability and --cache-bytes say nothing without --store")
    if options.store is not None:
        _check_store(options.store)
    parse_range(options.network_range)
    if options.service_addresses != "off":
        addresses.parse_range(options.service_addresses)
    for text in (*options.allow_private, *options.allow_webhook, *options.allow_registry):
        parse_network(text)
    parse_limits(options.network_limit)
    for text in options.resolver:
        parse_server(text)
    return daemon.Settings(
        state_dir=options.state_dir,
        host=host,
        port=port,
        isolation=options.isolation,
        variant=daemon.parse_variant(options.image),
        cache_dir=options.cache_dir,
        usual_size=Size(options.memory_mib << 20, options.cpus, options.pids),
        disk_bytes=options.disk_gib << 30,
        quota_bytes=None if options.quota_gib is None else options.quota_gib << 30,
        keep_free_bytes=options.keep_free_mib << 20,
        warm_after_s=options.warm_after,
        cold_after_s=options.cold_after,
        terminal_idle_s=options.terminal_idle,
        stop_machines=options.stop_machines_on_exit,
        pool_size=options.pool,
        machine_pool_size=options.machine_pool,
        store=options.store,
        durability=options.durability,
        cache_bytes=options.cache_bytes,
        egress=Egress(options.egress),
        network_range=options.network_range,
        allow_private=tuple(options.allow_private),
        allow_webhooks=tuple(options.allow_webhook),
        resolvers=tuple(options.resolver),
        domain=_parse_domain(options.domain),
        tls_listen=daemon.parse_listen(options.tls_listen) if options.tls_listen else None,
        certificate=_certificate(options),
        network_limits=tuple(options.network_limit),
        seal_key=options.seal_key,
        oidc_issuer=_issuer_address(options.oidc_issuer),
        insecure_registries=tuple(options.insecure_registry),
        allow_registries=tuple(options.allow_registry),
        keep_images_s=options.keep_images,
        autostop_after_s=options.autostop_after,
        create_limit=creation_rate.parse(options.create_limit),
        running_limit=options.running_limit,
        otlp=_collector(options.otlp),
        audit_bytes=options.audit_mib << 20,
        service_addresses=None if options.service_addresses == "off" else options.service_addresses,
    )


def _collector(text: str | None) -> str | None:
    """Where spans go; `PilotError` for what is no address of anybody who takes them."""
    if text is None:
        return None
    parsed = urllib.parse.urlsplit(text)
    if parsed.scheme not in ("http", "https") or not parsed.netloc:
        raise errors.PilotError(f"--otlp {text}: not a URL", hint="http://127.0.0.1:4318/v1/traces")
    return text


_STORES = ("file", "s3", "s3a", "gs", "az", "adl", "abfs", "abfss", "azure")  # obstore's, and ours


def _check_store(text: str) -> None:
    """As `volume.remote.objects.opening` will read it, in volumed."""
    parsed = urllib.parse.urlsplit(text)
    place = parsed.path.startswith("/") and not parsed.netloc if parsed.scheme == "file" else bool(parsed.netloc)
    if parsed.scheme not in _STORES or not place or parsed.query or parsed.fragment:
        hint = "file:///directory, s3://bucket/prefix, gs:// or az://"
        raise errors.PilotError(f"--store {text}: no address of an object store", hint=hint)


_BELIEVED = """\
{path}

It signs for names below {domain} and for loopback, and for nothing else. To believe it:

  curl              curl --cacert {path} …
  Python, sprite    SSL_CERT_FILE={path}
  Node              NODE_EXTRA_CA_CERTS={path}
  Debian            cp {path} /usr/local/share/ca-certificates/pilotd.crt && update-ca-certificates
  Chromium          certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n pilotd -i {path}     (package libnss3-tools)
  Firefox           Settings, Certificates, Authorities, Import"""


def _show_authority(options: argparse.Namespace) -> int:
    """Make it, if there is none yet."""
    try:
        domain = Domain(_parse_domain(options.domain))
        path = certificates.Authority(os.path.join(options.state_dir, "ca"), domain).path
    except (errors.PilotError, OSError) as error:
        print(f"pilotd: {error}", file=sys.stderr)
        return 1
    print(_BELIEVED.format(path=path, domain=domain.name))
    return 0


def _certificate(options: argparse.Namespace) -> tuple[str, str] | None:
    given = (options.certificate, options.key)
    if any(given) and not (all(given) and options.tls_listen):
        raise errors.PilotError("--certificate, --key and --tls-listen go together")
    return (options.certificate, options.key) if all(given) else None


def _parse_domain(text: str) -> str:
    try:
        return Domain(text.lower()).name
    except ValueError as error:
        raise errors.PilotError(f"--domain: {error}") from error


def _issuer_address(text: str | None) -> str | None:
    """As it is in the tokens: without a slash at its end."""
    if text is None:
        return None
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise errors.PilotError(f"--oidc-issuer {text}: no address", hint="as in https://pilot.example.com/oidc")
    return text.rstrip("/")


def _check_size(option: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise errors.PilotError(f"{option} {value:g}: from {least:g} to {most:g} can be meant")


def _seconds(text: str) -> float:
    """A number; `off` is 0."""
    return 0.0 if text == "off" else float(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pilotd", description="durable, disposable Linux computers on this host")
    commands = parser.add_subparsers(dest="command", required=True)
    authority = commands.add_parser("ca", help="our own authority for TLS, and how to have it believed")
    authority.add_argument("--state-dir", required=True)
    authority.add_argument("--domain", default=DEFAULT_DOMAIN, help="as `pilotd serve` has it")
    serve = commands.add_parser("serve", help="serve the Sprites API")
    add = serve.add_argument
    add("--state-dir", required=True, help="everything that this pilotd keeps")
    add("--listen", default="127.0.0.1:8080", metavar="HOST:PORT")
    add("--isolation", choices=("container", "vm"), default="container", help="what a machine is made of")
    add("--image", default="standard", help="what a new sprite's disk holds: standard or minimal")
    add("--cache-dir", default="/var/cache/pilot", help="where built images are kept")
    usual = Size()
    add("--memory-mib", type=int, default=usual.memory_bytes >> 20, metavar="N", help="of a sprite that says no other")
    add("--cpus", type=int, default=usual.cpus, metavar="N", help="likewise: how many processors it may use")
    add("--pids", type=int, default=usual.pids, metavar="N", help="likewise: how many processes and threads")
    limit = "how many sprites an organisation may make in how many seconds (off: as many as it likes)"
    add("--create-limit", default="off", metavar="COUNT/SECONDS", help=limit)
    limit = "how many sprites of an organisation may run at once (0: as many as it likes)"
    add("--running-limit", type=int, default=0, metavar="N", help=limit)
    add(
        "--otlp",
        metavar="URL",
        help="collector that OpenTelemetry spans go to, with the extra otel: http://…/v1/traces",
    )
    add("--disk-gib", type=int, default=100, help="size of a sprite's disk; only what is written takes space")
    add("--quota-gib", type=int, metavar="N", help="what one may take of this host's disk; else what there is")
    add(
        "--keep-images",
        type=float,
        default=KEEP_S,
        metavar="SECONDS",
        help="how long the base of an image is kept that no Machine is made of",
    )
    add("--keep-free-mib", type=int, default=64, metavar="N", help="with less room no sprite is made")
    add(
        "--warm-after",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="freeze a sprite unused for so long, or off",
    )
    add("--cold-after", type=_seconds, default=300.0, metavar="SECONDS", help="stop one that is frozen so long, or off")
    add(
        "--terminal-idle",
        type=_seconds,
        default=900.0,
        metavar="SECONDS",
        help="detach who is at a terminal without input or output for so long, or off",
    )
    add(
        "--autostop-after",
        type=_seconds,
        default=AFTER_S,
        metavar="SECONDS",
        help="a Machine with autostop rests when it is idle for so long and not needed, or off",
    )
    add(
        "--service-addresses",
        default=addresses.DEFAULT,
        metavar="CIDR",
        help="of this host, and of no other pilotd: each app has one, where the ports of its services are; or off",
    )
    add("--pool", type=int, default=0, metavar="N", help="sprites that are made before anybody wants them")
    add("--machine-pool", type=int, default=0, metavar="N", help="the same for Machines, whose isolation is container")
    add("--store", metavar="URL", help="object store that sprites' disks are kept in, too: file:///directory, s3://…")
    add("--durability", choices=("local", "remote"), help="what an fsync of a disk made from now on waits for")
    add("--cache-bytes", type=int, metavar="N", help="what a disk may take here of what the store has (needs --store)")
    add("--egress", choices=("none", "policy", "open"), default="open", help="what sprites may reach at most")
    add("--allow-private", action="append", default=[], metavar="CIDR", help="a private network that they may reach")
    add(
        "--allow-webhook", action="append", default=[], metavar="CIDR",
        help="a network that webhooks may go to where sprites may not, also this host's own address",
    )  # fmt: skip
    add("--network-range", default=DEFAULT_RANGE, metavar="CIDR[,CIDR6]", help="what machines are numbered from")
    add("--resolver", action="append", default=[], metavar="ADDRESS", help="who is asked for names; resolv.conf's else")
    add("--domain", default=DEFAULT_DOMAIN, help="sprites are reached at NAME-SUFFIX.DOMAIN")
    add("--tls-listen", metavar="HOST:PORT", help="serve TLS there, too; see `pilotd ca`")
    add("--certificate", metavar="FILE", help="for TLS, instead of our own authority's; read again when it changes")
    add("--key", metavar="FILE", help="of the certificate")
    add(
        "--network-limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help=f"of each machine, a second or at a time: {', '.join(LIMIT_NAMES)}",
    )
    add(
        "--insecure-registry", action="append", default=[], metavar="DOMAIN",
        help="images of Machines are taken from there without TLS, wherever it is",
    )  # fmt: skip
    add(
        "--allow-registry", action="append", default=[], metavar="CIDR",
        help="a network that images of Machines may come from and sprites may not reach, also this host's own address",
    )  # fmt: skip
    add(
        "--seal-key",
        metavar="FILE",
        help="32 bytes that keys of macaroons and of machines' tokens are sealed with; else in the state directory",
    )
    add(
        "--audit-mib", type=int, default=8, metavar="N", help="of each log of what was asked: older records are dropped"
    )
    add("--oidc-issuer", metavar="URL", help="where /oidc of this pilotd is reached by who verifies machines' tokens")
    add("--stop-machines-on-exit", action="store_true", help="leave nothing running (for demonstrations and tests)")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    for verb, text in (
        ("backup", "what pilotd knows (not disks) as one file, also while it runs"),
        ("restore", "that file into a state directory without a database"),
        ("audit", "a log of what was asked, as it is on disk, its head last; without LOG: what there are logs of"),
        ("drain", "end pilotd and all that it has started; sprites wake with their next use"),
    ):
        operating = commands.add_parser(verb, help=text).add_argument
        operating("--state-dir", default="/var/lib/pilot", help="as of serve")
        if verb == "drain":
            operating(
                "--patience",
                type=amounts.seconds,
                default=600.0,
                metavar="SECONDS",
                help="how long to wait for its end",
            )
        elif verb == "audit":
            operating("log", metavar="LOG", nargs="?", help="host, organisations/ID, sprites/ID or machines/ID")
        else:
            operating("file", metavar="FILE", help="-: standard output or input")
    examined = commands.add_parser("doctor", help="what this host lacks for sprites, and how to mend it").add_argument
    examined("--state-dir", default="/var/lib/pilot", help="as of serve")
    examined("--listen", default="127.0.0.1:8080", metavar="HOST:PORT")
    examined("--isolation", choices=("container", "vm"), default="container")
    examined("--json", action="store_true", help="for programs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
