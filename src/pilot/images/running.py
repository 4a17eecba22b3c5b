"""`pilot run --image REFERENCE [-- COMMAND…]`: pull what is missing, fork, run; the fork goes when it has ended."""

from __future__ import annotations

import argparse
import json
import os
import resource
import secrets
import sys
from collections.abc import Sequence

from .. import cli, errors, ids
from ..image import cache as artefacts
from ..image.oci import execution, people, platform, reference
from ..image.oci.execution import Planned
from ..image.oci.people import Person
from ..image.oci.store import Held, Store
from ..kernel import inroot
from ..spec import defaults
from . import forks, origins, progress

# What programs of images are used to (docker's default).
_CAPABILITIES = (
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip
_SMALL_BYTES = 1 << 20


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="pilot run", description=__doc__, allow_abbrev=False)
    made.add_argument("--image", required=True, metavar="REFERENCE", help="a name, or the digest of one that is here")
    made.add_argument("--name", default="", help="the container's id (default: one that nobody has)")
    made.add_argument("--env", "-e", action="append", default=[], metavar="NAME=VALUE")
    made.add_argument("--user", "-u", metavar="USER[:GROUP]")
    made.add_argument("--cwd", "-w", metavar="PATH")
    made.add_argument("--entrypoint", metavar="PROGRAM", help="instead of the image's, and without its command")
    made.add_argument("--hostname", default="")
    made.add_argument("--network", choices=("none", "host"), default="none", help="none has loopback (%(default)s)")
    made.add_argument("--read-only", action="store_true", help="nothing can be written to the root")
    made.add_argument("--pull", choices=("missing", "always", "never"), default="missing")
    made.add_argument("--insecure", action="append", default=[], metavar="DOMAIN", help="a registry without TLS")
    made.add_argument("--cache-dir", default=os.environ.get("PILOT_CACHE_DIR", artefacts.DEFAULT))
    made.add_argument("command", nargs="*", metavar="COMMAND")
    return made


def main(arguments: Sequence[str]) -> int:
    """The exit status: the command's own, or 1 when there was none."""
    asked = _parser().parse_args(arguments)
    if os.geteuid() != 0:
        raise errors.HostError("run an image: not root", hint="run as root")
    directory = origins.store_directory(os.path.abspath(asked.cache_dir))
    store = Store(directory)
    held = _image(store, asked)
    planned = execution.plan(held.image.config.config, _wanted(asked))
    id = ids.parse_container_id(asked.name or f"image-{secrets.token_hex(6)}")
    with store.root(held.image) as lower, forks.fork(directory, id, lower) as bundle:
        config = _config(planned, _person(planned.user, os.path.join(bundle, "rootfs")), asked, id)
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        return cli.main(["--root", forks.RUNTIME_ROOT, "run", "--bundle", bundle, id])


def _image(store: Store, asked: argparse.Namespace) -> Held:
    if not asked.image.startswith("sha256:"):
        return ensure(store, reference.parse(asked.image), asked.pull, asked.insecure)
    return store.find(asked.image)


def ensure(store: Store, wanted: reference.Reference, pull: str, insecure: Sequence[str]) -> Held:
    """The image of that name: from the store, or pulled."""
    if pull != "always":
        try:
            return store.find(str(wanted))
        except errors.NotFound:
            if pull == "never":
                raise
    allowed = origins.Insecure(frozenset(insecure))
    with origins.of_registry(wanted, allowed) as origin:
        return store.bring(origin, str(wanted), platform.host(), wanted.digest, progress.Bars(sys.stderr))


def _wanted(asked: argparse.Namespace) -> execution.Wanted:
    return execution.Wanted(
        entrypoint=[asked.entrypoint] if asked.entrypoint else None,
        command=asked.command or None,
        environment=dict(map(_variable, asked.env)),
        user=asked.user,
        cwd=asked.cwd,
    )


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise errors.PilotError(f"--env {text}: it is NAME=VALUE")
    return name, value


def _person(user: str | None, rootfs: str) -> Person:
    root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return people.find(user, _small(root_fd, "etc/passwd"), _small(root_fd, "etc/group"))
    finally:
        os.close(root_fd)


def _small(root_fd: int, path: str) -> str:
    """ "" when there is none: then only numbers are known."""
    try:
        fd = inroot.open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(fd, _SMALL_BYTES).decode(errors="replace")
    except OSError:
        return ""  # a directory, or worse
    finally:
        os.close(fd)


def _config(planned: Planned, person: Person, asked: argparse.Namespace, id: str) -> dict[str, object]:
    """config.json: as `pilot spec` writes it, for this image."""
    base = defaults.default_config(cgroup_namespace=os.path.exists("/sys/fs/cgroup/cgroup.controllers"))
    is_terminal = os.isatty(0) and os.isatty(1)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    environment = {"HOME": person.home, **({"TERM": os.environ.get("TERM", "xterm")} if is_terminal else {})}
    environment |= planned.environment
    capabilities = list(_CAPABILITIES)
    sets = ("bounding", "effective", "permitted") if person.uid == 0 else ("bounding",)
    linux = base["linux"]
    assert isinstance(linux, dict)
    kinds = [each for each in linux["namespaces"] if asked.network == "none" or each["type"] != "network"]
    return {
        **base,
        "hostname": asked.hostname or id[:63],
        "root": {"path": "rootfs", "readonly": asked.read_only},
        "process": {
            "terminal": is_terminal,
            "user": {"uid": person.uid, "gid": person.gid, "additionalGids": list(person.groups)},
            "args": list(planned.arguments),
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": planned.cwd,
            "capabilities": dict.fromkeys(sets, capabilities),
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": min(1024, most_files), "hard": most_files}],
        },
        "linux": {**linux, "namespaces": kinds},
    }
