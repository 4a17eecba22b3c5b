"""Words of `checkpoint` and `restore`, as criu is told them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilot.cli import checkpoint, restore
from pilot.cli.log import Log
from pilot.cli.options import UsageError, parse_arguments
from pilot.cli.verb import Context
from pilot.runtime import criu
from pilot.runtime.criu import CriuOptions
from pilot.spec.config import Root, Spec

_CONTEXT = Context("/run/pilot", "cgroupfs", False, Log(), "criu", {})


def _options(*words: str) -> CriuOptions:
    return checkpoint.criu_options(_CONTEXT, parse_arguments(words, checkpoint.OPTIONS))


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (("--tcp-skip-in-flight", "--link-remap"), ("--skip-in-flight", "--link-remap")),
        (("--lazy-pages", "--page-server", "192.0.2.1:27"),
         ("--lazy-pages", "--page-server", "--address", "192.0.2.1", "--port", "27")),
        (("--page-server", "[::1]:27"), ("--page-server", "--address", "::1", "--port", "27")),
        (("--empty-ns", "network"), ("--empty-ns", "net")),
        ((), ()),
    ],
)  # fmt: skip
def test_what_criu_has_too(words: tuple[str, ...], flags: tuple[str, ...]) -> None:
    assert _options(*words).flags == flags


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--page-server", "27"), "Use --page-server ADDRESS:PORT to specify page server"),
        (("--page-server", ":27"), "Use --page-server ADDRESS:PORT to specify page server"),
        (("--page-server", "host:http"), "Invalid port number"),
        (("--empty-ns", "uts"), 'namespace "uts" is not supported'),
        (("--manage-cgroups-mode", "hard"), "invalid manage-cgroups-mode value"),
        (("--parent-path", "/images"), "--parent-path must be relative"),
        (("--parent-path", "../nonesuch"), "invalid --parent-path: .*/nonesuch: no such directory"),
        (("--status-fd", "1000000"), "invalid --status-fd argument 1000000: bad file descriptor"),
    ],
)
def test_what_cannot_be(words: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        _options(*words)


def test_a_descriptor_is_passed_on() -> None:
    with open(os.devnull, "wb") as file:
        options = _options("--status-fd", str(file.fileno()))
        assert (options.pass_fds, options.flags) == ((file.fileno(),), ("--status-fd", str(file.fileno())))


def test_labels_of_a_restore() -> None:
    words = ("--lsm-profile", "apparmor:x", "--lsm-mount-context", "y", "--manage-cgroups-mode", "soft")
    options = checkpoint.criu_options(_CONTEXT, parse_arguments(words, restore.OPTIONS))
    assert options.flags == ("--lsm-profile", "apparmor:x", "--lsm-mount-context", "y")
    assert "--manage-cgroups=soft" in criu.plan_restore(_SPEC, "/b", "/b/rootfs", "/pid", options)


_SPEC = Spec(oci_version="1.3.0", root=Root(path="rootfs"))


def test_the_cgroups_are_ours_unless_criu_is_asked() -> None:
    assert "--manage-cgroups=ignore" in criu.plan_dump(_SPEC, 7, "/b/rootfs", _options())
    assert "--manage-cgroups=full" in criu.plan_dump(_SPEC, 7, "/b/rootfs", _options("--manage-cgroups-mode", "full"))


def test_a_file_of_options_is_named_by_an_annotation(tmp_path: Path) -> None:
    file = tmp_path / "options"
    file.touch()

    def told(path: str) -> bool:
        spec = Spec(oci_version="1.3.0", root=Root(path="rootfs"), annotations={"org.criu.config": path})
        return "--config" in criu.plan_dump(spec, 7, "/b/rootfs", _options())

    assert (told(str(file)), told(""), told(f"{file}.nonesuch")) == (True, False, False)
