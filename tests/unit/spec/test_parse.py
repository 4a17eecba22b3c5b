"""config.json → Spec: what is read, and which JSON path an error names."""

from __future__ import annotations

import json

import pytest

from pilot import errors
from pilot.spec import check, defaults, parse
from pilot.spec.linux import NamespaceType


def _config(**changes: object) -> dict[str, object]:
    return {**defaults.default_config(), **changes}


def _linux(**changes: object) -> dict[str, object]:
    linux = defaults.default_config()["linux"]
    assert isinstance(linux, dict)
    return _config(linux={**linux, **changes})


def _process(**changes: object) -> dict[str, object]:
    process = defaults.default_config()["process"]
    assert isinstance(process, dict)
    return _config(process={**process, **changes})


def test_the_default_config_is_read() -> None:
    spec = parse.parse_spec(json.dumps(defaults.default_config()))
    assert spec.process is not None
    assert spec.process.args == ("sh",)
    assert NamespaceType.PID in {namespace.type for namespace in spec.linux.namespaces}


def test_what_is_formatted_is_read_again() -> None:
    spec = parse.parse_spec(json.dumps(defaults.default_config(rootless=True, uid=7, gid=8)))
    assert parse.parse_spec(parse.format_spec(spec)) == spec


def test_mappings_without_a_user_namespace_are_nobodys() -> None:
    """As with runc and crun: whoever reads the Spec finds none."""
    linux = parse.parse_spec(json.dumps(_linux(uidMappings=[_ID_ROW], gidMappings=[_ID_ROW]))).linux
    assert (linux.uid_mappings, linux.gid_mappings) == ((), ())


def test_unknown_members_and_nulls_are_ignored() -> None:
    spec = parse.parse_spec(json.dumps(_config(mounts=None, windows={"layerFolders": []}, vendor=3)))
    assert spec.mounts == ()


def test_odd_spellings_of_the_specification() -> None:
    text = json.dumps(
        _process(execCPUAffinity={"initial": "0"}, ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4})
        | {
            "linux": _linux(
                resources={
                    "memory": {"disableOOMKiller": True, "kernelTCP": 5},
                    "blockIO": {"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 9}]},
                    "network": {"classID": 1},
                },
                intelRdt={"closID": "c"},
            )["linux"]
        }
    )
    spec = parse.parse_spec(text)
    assert spec.process is not None
    assert spec.process.exec_cpu_affinity is not None
    assert spec.process.exec_cpu_affinity.initial == "0"
    assert spec.process.io_priority is not None
    assert spec.process.io_priority.io_class == "IOPRIO_CLASS_BE"
    resources = spec.linux.resources
    assert resources is not None
    assert resources.memory is not None
    assert resources.memory.disable_oom_killer is True
    assert resources.memory.kernel_tcp == 5
    assert resources.block_io is not None
    assert resources.block_io.throttle_read_iops_device[0].rate == 9
    assert resources.network is not None
    assert resources.network.class_id == 1
    assert spec.linux.intel_rdt is not None
    assert spec.linux.intel_rdt.clos_id == "c"


_ID_ROW = {"containerID": 0, "hostID": 1000, "size": 1}

WRONG: list[tuple[str, object, str, str]] = [
    ("not an object", [], "$", "expected object"),
    ("no version", {"root": {"path": "rootfs"}}, "$", "ociVersion"),
    ("version 2", _config(ociVersion="2.0.0"), "$.ociVersion", "2.0.0"),
    ("no root", _config(root=None), "$.root", "root must be specified"),
    ("namespace type", _linux(namespaces=[{"type": "pid"}, {"type": "x"}]), "$.linux.namespaces[1].type", "'x'"),
    ("namespace twice", _linux(namespaces=[{"type": "pid"}, {"type": "pid"}]), "$.linux.namespaces[1]", "duplicated"),
    ("number for text", _process(cwd=3), "$.process.cwd", "expected str, got int"),
    ("no args", _process(args=[]), "$.process.args", "args must not be empty"),
    ("relative cwd", _process(cwd="tmp"), "$.process.cwd", "Cwd must be an absolute path"),
    ("environment", _process(env=["A=1", "B"]), "$.process.env[1]", "missing '='"),
    ("rlimit twice", _process(rlimits=[{"type": "RLIMIT_CPU"}] * 2), "$.process.rlimits[1]", "twice"),
    ("hostname without uts", _config(linux={"namespaces": [{"type": "mount"}]}), "$.hostname", "private UTS"),
    ("user without mappings", _linux(namespaces=[{"type": "user"}, {"type": "uts"}, {"type": "mount"}]),
     "$.linux.uidMappings", "no uid mappings found"),
    ("masked without mount", _config(hostname="", linux={"maskedPaths": ["/proc/x"], "namespaces": []}),
     "$.linux.maskedPaths", "private MNT"),
    ("global sysctl", _linux(sysctl={"vm.swappiness": "1"}), "$.linux.sysctl.vm.swappiness", "not in a separate"),
    ("sysctl of the host", _config(linux={"namespaces": [{"type": "uts"}], "sysctl": {"net.ipv4.ip_forward": "1"}}),
     "$.linux.sysctl.net.ipv4.ip_forward", "not allowed in host network namespace"),
    ("hostname by sysctl", _linux(sysctl={"kernel.hostname": "x"}), "$.linux.sysctl.kernel.hostname", "conflicts"),
    ("propagation", _linux(rootfsPropagation="x"), "$.linux.rootfsPropagation", "not supported"),
    ("time offsets", _linux(timeOffsets={"monotonic": {"secs": 1}}), "$.linux.timeOffsets", "time namespace"),
    ("relative hook", _config(hooks={"createRuntime": [{"path": "x"}]}), "$.hooks.createRuntime[0].path", "absolute"),
    ("hook timeout", _config(hooks={"poststop": [{"path": "/x", "timeout": 0}]}), "$.hooks.poststop[0].timeout", "ze"),
    ("idmap without bind", _config(mounts=[{"destination": "/x", "type": "tmpfs", "options": ["idmap"]}]),
     "$.mounts[0]", "bind"),
    ("NUL byte", _process(args=["a\0b"]), "$.process.args[0]", "contains a NUL byte"),
    ("half a character", _config(annotations={"k": "\ud800"}), "$.annotations.k", "not Unicode"),
    ("more than 64 bits", _linux(resources={"pids": {"limit": 2**64}}), "$.linux.resources.pids.limit", "64 bits"),
    ("negative uid", _process(user={"uid": -1}), "$.process.user.uid", "expected int >= 0"),
    ("uid that means none", _process(user={"uid": 2**32 - 1}), "$.process.user.uid", "not an id"),
    ("large group", _process(user={"additionalGids": [2**32]}), "$.process.user.additionalGids[0]", "expected int"),
    ("wide terminal", _process(consoleSize={"height": 2**16, "width": 1}), "$.process.consoleSize.height", "65535"),
    ("soft above hard", _process(rlimits=[{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]), "$.process.rlimits[0]", "ab"),
    ("oom score", _process(oomScoreAdj=1001), "$.process.oomScoreAdj", "-1000..1000"),
    ("empty name", _process(env=["=x"]), "$.process.env[0]", "name cannot be empty"),
    ("clock", _linux(namespaces=[{"type": "time"}, {"type": "uts"}, {"type": "mount"}], timeOffsets={"realtime": {}}),
     "$.linux.timeOffsets.realtime", "not a clock"),
    ("device type", _linux(devices=[{"path": "/dev/x", "type": "x"}]), "$.linux.devices[0].type", "invalid device"),
    ("relative device", _linux(devices=[{"path": "x", "type": "c"}]), "$.linux.devices[0].path", "not an absolute"),
    ("class of service", _linux(intelRdt={"closID": "../x"}), "$.linux.intelRdt.closID", "not the name"),
    ("network device", _linux(netDevices={"a/b": {}}), "$.linux.netDevices.a/b", "invalid network device name"),
    ("device without network", _config(linux={"namespaces": [{"type": "uts"}], "netDevices": {"eth0": {}}}),
     "$.linux.netDevices", "without a NET namespace"),
    ("relative namespace", _linux(namespaces=[{"type": "pid", "path": "x"}]), "$.linux.namespaces[0].path", "absolute"),
    ("half of a mapping", _config(mounts=[{"destination": "/x", "type": "bind", "uidMappings": [_ID_ROW]}]),
     "$.mounts[0]", "must have both uid and gid mappings"),
    ("mount nowhere", _config(mounts=[{"destination": "", "type": "tmpfs"}]), "$.mounts[0].destination", "empty"),
    ("domain name of the host", _config(hostname="", domainname="x", linux={"namespaces": []}), "$.domainname", "UTS"),
    ("empty range", _linux(namespaces=[{"type": "user"}, {"type": "uts"}, {"type": "mount"}],
                           uidMappings=[{**_ID_ROW, "size": 0}], gidMappings=[_ID_ROW]),
     "$.linux.uidMappings[0]", "not a range of ids"),
    ("no policy", _process(scheduler={"policy": ""}), "$.process.scheduler.policy", "required"),
    ("not nice", _process(scheduler={"policy": "SCHED_OTHER", "nice": 20}), "$.process.scheduler.nice", "invalid"),
    ("priority of nobody", _process(scheduler={"policy": "SCHED_OTHER", "priority": 1}),
     "$.process.scheduler.priority", "SchedFIFO"),
    ("times of nobody", _process(scheduler={"policy": "SCHED_FIFO", "runtime": 1}), "$.process.scheduler", "Deadline"),
    ("a hint instead of a priority", _process(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 8}),
     "$.process.ioPriority.priority", "invalid ioPriority.Priority: 8"),
    ("shifted, but joined", _linux(namespaces=[{"type": "time", "path": "/x"}, {"type": "uts"}, {"type": "mount"}],
                                   timeOffsets={"boottime": {"secs": 1}}),
     "$.linux.timeOffsets", "only provide one"),
    ("sysctl of the host's users", _linux(sysctl={"user.max_user_namespaces": "1"}),
     "$.linux.sysctl.user.max_user_namespaces", "setting ucounts without a user namespace"),
    ("sysctl with slashes", _linux(sysctl={"vm/swappiness": "1"}), "$.linux.sysctl.vm/swappiness", '"vm.swappiness"'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dotted", "path"),
    [
        ("net.ipv4.conf.eth0/100.rp_filter", "net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("net/ipv4/conf/eth0.100/rp_filter", "net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("kernel.sem", "kernel.sem", "kernel/sem"),
        ("single", "single", "single"),
    ],
)
def test_both_ways_of_writing_a_sysctl(name: str, dotted: str, path: str) -> None:
    assert (check.dotted_sysctl(name), check.sysctl_path(name)) == (dotted, path)


@pytest.mark.parametrize(("config", "path", "problem"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_errors_name_the_place(config: object, path: str, problem: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        parse.parse_spec(json.dumps(config))
    assert caught.value.path == path
    assert problem in caught.value.problem


def test_text_that_is_not_json() -> None:
    with pytest.raises(errors.SpecError, match="not JSON"):
        parse.parse_spec("{")


def test_text_that_is_nested_too_deeply() -> None:
    with pytest.raises(errors.SpecError, match="nested too deeply"):
        parse.parse_spec("[" * 20000)


def test_a_bundle_without_config_is_not_found(tmp_path: object) -> None:
    with pytest.raises(errors.NotFound, match=r"config\.json not found"):
        parse.read_spec(str(tmp_path))
