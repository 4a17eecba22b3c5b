"""Mounts that ought to work and are easily refused, or get other flags than were asked for.

What each runtime makes of the same bundle is read from mountinfo inside.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import bundles
from tests.support.bundles import Config

from pilot import errors
from pilot.kernel import mounts
from pilot.kernel.mounts import Flag
from pilot.runtime import Runtime

pytestmark = pytest.mark.requires("root", "private", "busybox")

_PILOT = (sys.executable, "-m", "pilot.command")


def _shell(script: str, **process: object) -> Config:
    return bundles.make_config("sh", "-c", script, **process)


def _bind(destination: str, source: Path | str, *options: str) -> dict[str, object]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": list(options)}


def _run(runtime: tuple[str, ...], bundle: Path, config: Config) -> tuple[int, str]:
    (bundle / "config.json").write_text(json.dumps({**config, "ociVersion": "1.0.2"}))
    root = bundle.parent / "roots" / Path(runtime[0]).name
    done = subprocess.run(
        [*runtime, "--root", str(root), "run", "-b", str(bundle), "same"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


# ---- places -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/gone/dir", "gone/dir", "../../gone/dir"])
@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_destination_through_a_link_to_nowhere(runtime: Runtime, bundle: Path, target: str, kind: str) -> None:
    """What the link names is made, inside."""
    (bundle / "rootfs/link").symlink_to(target)
    (bundle / "source").mkdir()
    (bundle / "source/file").write_text("found\n")
    source, inside = (
        (bundle / "source", "gone/dir/file") if kind == "directory" else (bundle / "source/file", "gone/dir")
    )
    config = _shell(f"cat /{inside}")
    config["mounts"].append(_bind("/link", source, "bind"))
    assert bundles.run_to_end(runtime, bundle, config) == (0, "found\n")
    assert (bundle / "rootfs/gone/dir").exists()
    assert not (bundle / "gone").exists()


def test_a_destination_through_links_in_a_circle(runtime: Runtime, bundle: Path) -> None:
    (bundle / "rootfs/one").symlink_to("two")
    (bundle / "rootfs/two").symlink_to("one")
    config = _shell("true")
    config["mounts"].append({"destination": "/one", "type": "tmpfs", "source": "tmpfs"})
    with pytest.raises(errors.StepError, match="too many levels of symbolic links"):
        bundles.create(runtime, bundle, config)


@pytest.mark.parametrize("user_namespace", [False, True])
def test_a_source_below_an_earlier_mount(runtime: Runtime, bundle: Path, user_namespace: bool) -> None:
    """It is there only when that one is."""
    (bundle / "data/below").mkdir(parents=True)
    (bundle / "data/below/file").write_text("found\n")
    for name in ("first", "second"):
        (bundle / "rootfs" / name).mkdir()
    config = _shell("cat /second/file")
    if user_namespace:
        config = bundles.with_user_namespace(config)
    config["mounts"] += [
        _bind("/first", bundle / "data", "rbind"),
        _bind("/second", bundle / "rootfs/first/below", "bind", "ro"),
    ]
    assert bundles.run_to_end(runtime, bundle, config) == (0, "found\n")


@pytest.mark.parametrize("readonly", [False, True])
def test_a_bind_on_the_root(runtime: Runtime, bundle: Path, readonly: bool) -> None:
    """It is the root then, and what follows is mounted in it. runc refuses it."""
    other = bundles.make_rootfs(bundle / "other")
    (other / "mark").write_text("the other root\n")
    config = _shell("cat /mark; test -d /proc/self && touch /x && echo wrote")
    config["root"]["readonly"] = readonly
    config["mounts"].insert(0, _bind("/", other, "bind"))
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert text.startswith("the other root\n")
    assert (code, text.endswith("wrote\n"), (other / "x").exists()) == (
        (1, False, False) if readonly else (0, True, True)
    )


def test_mounts_without_a_mount_namespace(runtime: Runtime, bundle: Path) -> None:
    """They are made in the caller's, over the rootfs, and go with the container."""
    config = _shell("test -d /proc/self && test -c /dev/null && cat /data/file")
    (bundle / "data").mkdir()
    (bundle / "data/file").write_text("found\n")
    config["mounts"].append(_bind("/data", "data", "bind"))
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "mount"]
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    before = Path("/proc/self/mountinfo").read_text()
    assert bundles.run_to_end(runtime, bundle, config) == (0, "found\n")
    assert Path("/proc/self/mountinfo").read_text() == before
    config["process"]["args"] = ["nonesuch"]
    with pytest.raises(errors.StepError):
        bundles.create(runtime, bundle, config)
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.requires("runc")
def test_mountinfo_has_the_mounts_in_the_order_of_the_list(bundle: Path) -> None:
    config = bundles.make_config("cat", "/proc/self/mountinfo")
    for name in ("first", "second", "third"):
        (bundle / "rootfs" / name).mkdir()
        tmpfs = {"destination": f"/{name}", "type": "tmpfs", "source": "tmpfs"}
        config["mounts"].append(tmpfs if name == "second" else _bind(f"/{name}", "/usr", "bind"))
    wanted = [m["destination"] for m in config["mounts"] if not m["destination"].startswith("/sys/fs/cgroup")]
    for runtime in (("runc",), _PILOT):
        code, text = _run(runtime, bundle, config)
        assert code == 0
        found = [m.mount_point for m in mounts.parse_mountinfo(text)]
        assert [path for path in found if path in wanted] == wanted


def test_a_source_that_is_a_descriptor_of_the_caller(runtime: Runtime, bundle: Path) -> None:
    """Not the process's own of that number."""
    (bundle / "source").mkdir()
    (bundle / "source/file").write_text("found\n")
    source_fd = os.open(bundle / "source", os.O_PATH)
    config = _shell("cat /data/file")
    config["mounts"].append(_bind("/data", f"/proc/self/fd/{source_fd}", "bind"))
    try:
        assert bundles.run_to_end(runtime, bundle, config) == (0, "found\n")
    finally:
        os.close(source_fd)


# ---- flags ------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(bundle: Path) -> Path:
    """A mount with flags of its own."""
    made = bundle / "source"
    made.mkdir()
    mounts.mount("tmpfs", made, "tmpfs", Flag.NOSUID | Flag.NOEXEC | Flag.NODIRATIME | Flag.NOATIME)
    (bundle / "rootfs/data").mkdir()
    return made


def _seen(text: str) -> tuple[str, ...]:
    return next(m.options for m in mounts.parse_mountinfo(text) if m.mount_point == "/data")


# What the mount has then. Where flags are only cleared runc 1.1 leaves the source's; its later versions do not.
FLAGS: dict[tuple[str, ...], str] = {
    ("bind",): "rw,nosuid,noexec,noatime,nodiratime",
    ("rbind",): "rw,nosuid,noexec,noatime,nodiratime",
    ("bind", "nodev"): "rw,nodev,noatime,nodiratime",
    ("bind", "rw"): "rw,noatime,nodiratime",
    ("bind", "ro"): "ro,noatime,nodiratime",
    ("bind", "exec", "suid"): "rw,noatime,nodiratime",
    ("bind", "relatime"): "rw,relatime",
    ("bind", "strictatime", "nodiratime"): "rw,nodiratime",
    ("bind", "nosuid", "noexec", "ro"): "ro,nosuid,noexec,noatime,nodiratime",
    ("bind", "silent"): "rw,noatime,nodiratime",
    ("bind", "noatime", "ro"): "ro,noatime",
}
_CLEARED = {("bind", "rw"), ("bind", "exec", "suid")}


@pytest.mark.parametrize("options", FLAGS, ids=" ".join)
def test_flags_that_are_named_replace_those_of_the_source(
    runtime: Runtime, bundle: Path, source: Path, options: tuple[str, ...]
) -> None:
    config = bundles.make_config("cat", "/proc/self/mountinfo")
    config["mounts"].append(_bind("/data", source, *options))
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, ",".join(_seen(text))) == (0, FLAGS[options])


@pytest.mark.requires("runc")
@pytest.mark.parametrize("options", sorted(FLAGS.keys() - _CLEARED), ids=" ".join)
def test_flags_of_a_bind_are_those_that_runc_gives(bundle: Path, source: Path, options: tuple[str, ...]) -> None:
    config = bundles.make_config("cat", "/proc/self/mountinfo")
    config["mounts"].append(_bind("/data", source, *options))
    found = [_run(runtime, bundle, config) for runtime in (("runc",), _PILOT)]
    assert [code for code, _ in found] == [0, 0], found
    by_runc, by_pilot = (_seen(text) for _, text in found)
    assert by_pilot == by_runc


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (("bind",), "rw,nosuid,noexec,noatime,nodiratime"),
        (("bind", "nodev"), "rw,nosuid,nodev,noexec,noatime,nodiratime"),
        (("bind", "ro"), "ro,nosuid,noexec,noatime,nodiratime"),
    ],
)
def test_flags_of_the_source_are_locked_in_a_user_namespace(
    runtime: Runtime, bundle: Path, source: Path, options: tuple[str, ...], flags: str
) -> None:
    config = bundles.with_user_namespace(bundles.make_config("cat", "/proc/self/mountinfo"))
    config["mounts"].append(_bind("/data", source, *options))
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, ",".join(_seen(text))) == (0, flags)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("bind", "suid"), "cannot clear locked flags MS_NOSUID"),
        (("bind", "exec", "ro"), "cannot clear locked flags MS_NOEXEC"),
        (("bind", "relatime"), "cannot change locked atime flags MS_NOATIME"),
    ],
)
def test_flags_that_are_locked_cannot_be_cleared(
    runtime: Runtime, bundle: Path, source: Path, options: tuple[str, ...], problem: str
) -> None:
    config = bundles.with_user_namespace(bundles.make_config("true"))
    config["mounts"].append(_bind("/data", source, *options))
    said = f'"{source}" to rootfs at "/data": failed to set user-requested vfs flags on bind-mount: {problem}: '
    with pytest.raises(errors.HostError, match=re.escape(said)):
        bundles.create(runtime, bundle, config)


@pytest.mark.parametrize("user_namespace", [False, True])
def test_mounts_by_the_thousand(runtime: Runtime, bundle: Path, user_namespace: bool) -> None:
    """More than any process has descriptors for; each is what it is to be, in the order of the list."""
    count = 2500
    (bundle / "rootfs/data").mkdir()
    for n in range(4):
        (bundle / f"source{n}").mkdir()
        (bundle / f"source{n}/file").write_text(f"{n}\n")
    config = bundles.make_config("cat", "/proc/self/mountinfo", "/data/2499/file")
    if user_namespace:
        config = bundles.with_user_namespace(config)
    config["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs"})
    config["mounts"] += [_bind(f"/data/{n}", f"source{n % 4}", "bind", "ro") for n in range(count)]
    code, text = bundles.run_to_end(runtime, bundle, config)
    *lines, file = text.splitlines()
    seen = [(words[3].rpartition("/")[2], words[4], words[5].split(",")[0]) for words in map(str.split, lines)]
    wanted = [(f"source{n % 4}", f"/data/{n}", "ro") for n in range(count)]
    assert (code, file) == (0, "3"), text[-2000:]
    assert [row for row in seen if row[1].startswith("/data/")] == wanted


# ---- propagation ------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(bundle: Path) -> Path:
    """A shared mount, on a rootfs that is a shared mount."""
    made = bundle / "shared"
    made.mkdir()
    for path in (made, bundle / "rootfs"):
        mounts.bind(path, path)
        mounts.set_attributes(path, propagation=mounts.Propagation.SHARED)
    (bundle / "rootfs/data").mkdir()
    return made


def _propagation(
    runtime: Runtime, bundle: Path, shared: Path, root: str, option: str, user_namespace: bool
) -> dict[str, tuple[str, ...]]:
    """Of / and /data inside, without the numbers of their groups; a peer of the host's is `shared with the host`."""
    host = next(m.peer_group for m in mounts.read_mountinfo() if m.mount_point == str(shared))
    config = bundles.make_config("cat", "/proc/self/mountinfo")
    if user_namespace:
        config = bundles.with_user_namespace(config)
    config["linux"]["rootfsPropagation"] = root
    config["mounts"].append(_bind("/data", shared, "rbind", *filter(None, [option])))
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert code == 0, text
    found = {}
    for m in mounts.parse_mountinfo(text):
        if m.mount_point in {"/", "/data"}:
            words = [o.partition(":")[0] for o in m.optional]
            found[m.mount_point] = tuple(
                "shared with the host" if m.peer_group == host and w == "shared" else w for w in words
            )
    return found


@pytest.mark.parametrize("user_namespace", [False, True])
@pytest.mark.parametrize("root", ["", "slave", "rslave", "rprivate"])
def test_shared_on_a_bind_is_kept(
    runtime: Runtime, bundle: Path, shared: Path, root: str, user_namespace: bool
) -> None:
    found = _propagation(runtime, bundle, shared, root, "rshared", user_namespace)
    assert found["/data"] == (("shared",) if root == "rprivate" else ("shared", "master"))


@pytest.mark.parametrize(
    ("root", "of_root"), [("", ()), ("slave", ("master",)), ("rslave", ("master",)), ("rprivate", ())]
)
def test_a_root_that_is_a_slave_keeps_its_master(
    runtime: Runtime, bundle: Path, shared: Path, root: str, of_root: tuple[str, ...]
) -> None:
    assert _propagation(runtime, bundle, shared, root, "", False)["/"] == of_root


def test_mounts_of_a_shared_bind_reach_the_host(runtime: Runtime, bundle: Path, shared: Path) -> None:
    """As drivers of volumes want it: rootfsPropagation and the bind are shared."""
    assert _propagation(runtime, bundle, shared, "rshared", "rshared", False)["/data"] == ("shared with the host",)
    in_user_namespace = _propagation(runtime, bundle, shared, "rshared", "rshared", True)["/data"]
    assert in_user_namespace == ("shared", "master")


# ---- descriptors, and nothing to run ----------------------------------------------------------------------------


_FRONT = (str(Path(sys.executable).with_name("pilot")),)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("command", ["run", "exec"])
@pytest.mark.parametrize("pilot", [_FRONT, _PILOT], ids=["front", "python"])
def test_standard_descriptors_that_the_caller_closed(
    bundle: Path, tmp_path: Path, pilot: tuple[str, ...], command: str, closed: tuple[int, ...]
) -> None:
    """They are /dev/null."""
    (bundle / "rootfs/bin/readlink").symlink_to("busybox")
    look = "; ".join(f"fd{n}=$(readlink /proc/$$/fd/{n})" for n in range(3))
    script = f"{look}; {{ echo $fd0; echo $fd1; echo $fd2; }} > /tmp/seen"
    (bundle / "config.json").write_text(json.dumps(_shell(script if command == "run" else "sleep 1000")))
    base = [*pilot, "--root", str(tmp_path / "root")]
    words = ["run", "-b", str(bundle), "web"]
    if command == "exec":
        detached = ["sh", "-c", '"$@" < /dev/null > /dev/null 2>&1', "sh", *base, "run", "-d", "-b", str(bundle), "web"]
        subprocess.run(detached, check=True, timeout=60)
        words = ["exec", "web", "sh", "-c", script]
    closing = " ".join(f"{n}>&-" for n in closed)
    done = subprocess.run(["sh", "-c", f'"$@" {closing}', "sh", *base, *words], timeout=60, check=False)
    seen = (bundle / "rootfs/tmp/seen").read_text().splitlines()
    if command == "exec":
        subprocess.run([*base, "delete", "-f", "web"], check=True, timeout=60)
    assert done.returncode == 0
    assert [seen[n] for n in closed] == ["/dev/null"] * len(closed)


@pytest.mark.parametrize("hole", [3, 4, 5])
def test_holes_among_preserved_descriptors(bundle: Path, tmp_path: Path, hole: int) -> None:
    """They stay closed, and the others keep their numbers."""
    config = _shell("for n in 3 4 5; do test -e /proc/$$/fd/$n && cat <&$n; done; true")
    (bundle / "config.json").write_text(json.dumps(config))
    opened = " ".join(f"{n}<{tmp_path}/file{n}" for n in (3, 4, 5) if n != hole)
    for n in (3, 4, 5):
        (tmp_path / f"file{n}").write_text(f"{n}\n")
    words = [*_PILOT, "--root", str(tmp_path / "root"), "run", "--preserve-fds", "3", "-b", str(bundle), "web"]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {opened} {hole}<&-', "sh", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "".join(f"{n}\n" for n in (3, 4, 5) if n != hole)), done.stderr


def test_without_a_process_there_is_a_container_that_cannot_be_started(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config()
    del config["process"]
    created = bundles.create(runtime, bundle, config)
    assert created.container.status().value == "created"
    assert os.readlink(f"/proc/{created.process.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    with pytest.raises(errors.SpecError, match="process"):
        created.container.start()
    assert created.container.status().value == "created"
