"""What the manual pages of runc name, verb by verb and option by option, as far as no other case has it."""

from __future__ import annotations

import json
import shlex

from ..case import Case
from ..observers import cgroup, left, said, shell, state, verbs

_CPU = cgroup(
    "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpuset.cpus", "cpuset.mems", "cpu.idle"
)
_MEMORY = cgroup("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes")
_PIDS = cgroup("pids.max")
_NO_NEW = "grep NoNewPrivs /proc/self/status"
_CAPS = "grep ^Cap /proc/self/status"


# Names and types of all that the statistics have; later runcs have psi, and the kernel says what is in raw.
_NAMES = """
def names(value, at=""):
    if isinstance(value, dict):
        for name in sorted(value.keys() - {"psi", "raw"}):
            yield from names(value[name], at + "." + name)
    else:
        yield at + " " + type(value).__name__
print(*names(d), sep=chr(10))"""


def _python(script: str) -> str:
    """A command that looks at the document `d` from standard input."""
    return " python3 -c " + shlex.quote(f"import json, sys; d = json.load(sys.stdin)\n{script}")


CASES = (
    # exec
    Case(
        "exec with and without new privileges",
        ("operation.exec", "process.noNewPrivileges"),
        {"process.noNewPrivileges": True},
        verbs=(
            f"exec ID {_NO_NEW}",
            f"exec --no-new-privs ID {_NO_NEW}",
            f"exec --no-new-privs=true ID {_NO_NEW}",
            f"exec --no-new-privs=false ID {_NO_NEW}",
            f"exec --no-new-privs=x ID {_NO_NEW}",
        ),
    ),
    Case(
        "exec where new privileges are allowed",
        ("operation.exec", "process.noNewPrivileges"),
        {"process.noNewPrivileges": False},
        verbs=(f"exec ID {_NO_NEW}", f"exec --no-new-privs=false ID {_NO_NEW}", f"exec --no-new-privs ID {_NO_NEW}"),
    ),
    Case(
        "a config.json that is changed while it runs",
        ("operation.exec",),
        {"process.env": ["PATH=/bin", "A=before"]},
        running={"edit": shell("sed -i s/A=before/A=after/ BUNDLE/config.json")},
        verbs=("exec ID sh -c 'echo $A'", "state ID", "update --pids-limit 20 ID"),
    ),
    Case(
        "a config.json that has gone while it runs",
        ("operation.exec",),
        running={"remove": shell("rm BUNDLE/config.json")},
        verbs=("exec ID true", "state ID", "ps -f json ID", "pause ID", "resume ID", "kill ID 0", "list -q"),
        after={"left": left},
    ),
    Case(
        "options of exec, long and short",
        ("operation.exec",),
        verbs=(
            "exec -e A=1 -e B=2 ID sh -c 'echo $A$B'",
            "exec --env=A=1 ID sh -c 'echo $A'",
            "exec -e A ID sh -c 'echo $A'",
            "exec -e '' ID true",
            "exec -g 9 -g 10 ID id -G",
            "exec --additional-gids 9,10 ID id -G",
            "exec --additional-gids x ID id -G",
            "exec --additional-gids -1 ID id -G",
            "exec -u 4294967295 ID id -u",
            "exec -u 4294967296 ID id -u",
            "exec -u -1 ID id -u",
            "exec -u 0x7 ID id -u",
            "exec -u +7 ID id -u",
            "exec -u '' ID id -u",
            "exec -u 7:8:9 ID id",
            "exec --cwd '' ID pwd",
            "exec --cwd etc ID pwd",
            "exec --cwd /etc/passwd ID pwd",
            "exec --cwd /etc/../bin ID pwd",
            "exec --process-label some ID true",
            "exec --process-label '' ID true",
            "exec --apparmor some ID true",
            "exec --apparmor '' ID true",
            "exec --preserve-fds 0 ID true",
            "exec --preserve-fds 1 ID true",
            "exec --preserve-fds x ID true",
            "exec --preserve-fds -1 ID true",
            "exec --ignore-paused ID true",
            "exec --tty=false ID tty",
            "exec --detach=false ID echo here",
            "exec -d ID echo here",
            "exec --pid-file BUNDLE/exec.pid ID true",
            "exec --pid-file BUNDLE/no/such ID true",
            "exec ID -e A=1 true",
            "exec ID sh -c 'exit 255'",
            "exec ID sh -c 'kill -TERM $$'",
            "exec ID /etc/passwd",
            "exec ID /etc",
            "exec ID ''",
            "exec ID ./busybox",
            "exec --cwd /bin ID ./busybox true",
        ),
        changed={"pid file": shell("grep -cE '^[0-9]+$' BUNDLE/exec.pid")},
    ),
    Case(
        "capabilities of exec",
        ("operation.exec", "process.capabilities"),
        {
            "process.capabilities": {
                name: ["CAP_KILL"] for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
            }
        },
        verbs=(
            f"exec ID {_CAPS}",
            f"exec --cap CAP_CHOWN ID {_CAPS}",
            f"exec --cap CAP_CHOWN --cap CAP_FOWNER ID {_CAPS}",
            f"exec -c CAP_KILL ID {_CAPS}",
            f"exec --user 7 ID {_CAPS}",
            f"exec --user 7 --cap CAP_CHOWN ID {_CAPS}",
            f"exec --cap chown ID {_CAPS}",
            f"exec --cap CHOWN ID {_CAPS}",
            f"exec --cap ALL ID {_CAPS}",
        ),
    ),
    Case(
        "exec while it is paused",
        ("operation.exec", "operation.pause"),
        running={
            "pause": verbs("pause ID", "exec ID true"),
            "refused": said("exec ID true"),
            # It waits for the container to be resumed.
            "waits": shell(
                "RUNTIME exec --ignore-paused ID touch /tmp/x > /dev/null 2>&1 & sleep 1; test -e BUNDLE/rootfs/tmp/x;"
                "echo $?; RUNTIME resume ID; wait $!; ls BUNDLE/rootfs/tmp/x > /dev/null"
            ),
        },
    ),
    # texts
    Case(
        "what errors say",
        ("operation.state", "operation.exec", "operation.start", "operation.create"),
        created={
            "said": said(
                "create --bundle BUNDLE ID",
                "run --bundle BUNDLE ID",
                "state other",
                "start other",
                "kill other",
                "exec other true",
                "delete other",
                "pause other",
                "resume other",
                "ps other",
                "update other",
                "events --stats other",
                "checkpoint other",
                "resume ID",
            )
        },
        running={
            "said": said(
                "start ID",
                "delete ID",
                "resume ID",
                "exec ID nonesuch",
                "exec ID /nonesuch",
                "exec ID /etc/passwd",
                "exec --cwd /nonesuch ID true",
                "exec --cwd /etc/passwd ID true",
                "exec -u some ID true",
                "kill ID SIGNONE",
                "list --format x",
                "ps --format x ID",
                "events --interval 0 --stats ID",
                "create --bundle BUNDLE a/b",
                "create --bundle BUNDLE ''",
                "create --bundle /nonesuch other",
                "update -r /nonesuch ID",
                "--log /nonesuch/log state ID",
            )
        },
    ),
    Case(
        "what errors say when it has stopped",
        ("operation.exec", "operation.start", "operation.kill"),
        running={"kill": shell("RUNTIME kill ID KILL; while RUNTIME state ID | grep -q running; do sleep .1; done")},
        changed={
            "said": said(
                "exec ID true",
                "start ID",
                "kill ID TERM",
                "kill ID 0",
                "kill --all ID TERM",
                "pause ID",
                "resume ID",
                "events --stats ID",
                "events ID",
                "ps ID",
                "ps -f json ID",
                "update --pids-limit 5 ID",
                "create --bundle BUNDLE ID",
            )
        },
    ),
    # ps, list, state
    Case(
        "columns of ps",
        ("operation.ps",),
        verbs=(
            "ps ID -o pid,comm",
            "ps ID -o comm,pid",
            "ps ID -eo pid",
            "ps ID -o nonesuch",
            "ps ID aux -f",
            "ps --format json ID -o comm",
            "ps --format=table ID -o pid,stat --no-headers",
            "ps -f table ID -o pid",
            "ps -f '' ID",
        ),
    ),
    Case(
        "columns of the list",
        ("operation.list",),
        {"annotations": {"x": "y"}},
        running={
            "table": shell("RUNTIME list | sed -E 's/ +/ /g'"),
            "header": shell("RUNTIME list --format table | head -n 1 | sed -E 's/(BUNDLE) +/\\1 /'"),
            "json": shell("RUNTIME list -f json | tr ',' '\\n' | grep -vE 'pid|created|ociVersion|rootfs'"),
            "both": shell("RUNTIME list --quiet --format json"),
            "lines": shell("RUNTIME list -f json | wc -l"),
        },
    ),
    Case(
        "an empty list",
        ("operation.list",),
        running={
            "made": shell("mkdir BUNDLE/empty"),
            "table": shell("C='RUNTIME'; ${C%--root*} --root BUNDLE/empty list"),
            "json": shell("C='RUNTIME'; ${C%--root*} --root BUNDLE/empty list -f json"),
            "quiet": shell("C='RUNTIME'; ${C%--root*} --root BUNDLE/empty list -q"),
            "a file": shell("C='RUNTIME'; ${C%--root*} --root BUNDLE/config.json list -q"),
        },
    ),
    # kill
    Case(
        "kill, said in many ways",
        ("operation.kill",),
        verbs=(
            "kill ID -- WINCH",
            "kill -- ID WINCH",
            "kill ID -WINCH",
            "kill ID -28",
            "kill ID SIGwinch",
            "kill ID ' WINCH'",
            "kill ID WINCH extra",
            "kill ID 028",
            "kill ID 64",
            "kill ID SIGCLD",
            "kill ID SIGPOLL",
            "kill ID SIGIOT",
            "kill ID SIGUNUSED",
            "kill ID SIGSTKFLT2",
            "kill ID 00",
            "kill --all ID WINCH",
            "kill -a ID WINCH",
            "kill ID --all WINCH",
            "kill --all=false ID WINCH",
        ),
    ),
    # update
    Case(
        "update by every option",
        ("operation.update",),
        {"linux.resources.memory": {"limit": 200000000, "swap": 400000000}},
        verbs=(
            "update --cpu-period 50000 --cpu-quota 25000 ID",
            "update --cpu-share 77 --cpuset-mems 0 --cpuset-cpus 0-1 ID",
            "update --memory 100m --memory-swap 200M --memory-reservation 1.5m ID",
            "update --pids-limit 12 ID",
            "update --cpu-share -1 ID",
            "update --cpu-period x ID",
            "update --cpu-quota 1.5 ID",
            "update --pids-limit x ID",
            "update --pids-limit 1x ID",
            "update --cpuset-cpus x ID",
            "update --cpuset-cpus 900 ID",
            "update --blkio-weight 5 ID",
            "update --memory -5 ID",
            "update --memory '' ID",
            "update --memory-swap 1k ID",
            "update --l3-cache-schema L3:0=f ID",
            "update --mem-bw-schema MB:0=20 ID",
            "update --kernel-memory 50M ID",
            "update --kernel-memory-tcp 50M ID",
            "update --cpu-quota 100 ID",
            "update --cpu-rt-period 1000000 ID",
            "update ID extra",
        ),
        changed={"cpu": _CPU, "memory": _MEMORY, "pids": _PIDS},
    ),
    Case(
        "update without a memory limit",
        ("operation.update",),
        {"linux.resources.memory": {"limit": 200000000, "swap": 400000000}},
        verbs=("update --memory -1 ID",),
        changed={"memory": _MEMORY},
    ),
    Case(
        "update of memory below what is used as swap",
        ("operation.update",),
        {"linux.resources.memory": {"limit": 200000000, "swap": 300000000}},
        verbs=("update --memory 400000000 ID", "update --memory-swap 500000000 ID", "update --memory-swap -1 ID"),
        changed={"memory": _MEMORY},
    ),
    Case(
        "update by standard input",
        ("operation.update",),
        running={
            "good": shell('echo \'{"pids": {"limit": 31}}\' | RUNTIME update -r - ID'),
            "long": shell('echo \'{"cpu": {"shares": 111}}\' | RUNTIME update --resources=- ID'),
            "empty": shell("RUNTIME update -r - ID < /dev/null"),
            "nothing": shell("echo '{}' | RUNTIME update -r - ID"),
            "null": shell("echo 'null' | RUNTIME update -r - ID"),
            "list": shell("echo '[]' | RUNTIME update -r - ID"),
            "unknown": shell("echo '{\"nonesuch\": 1}' | RUNTIME update -r - ID"),
            "both": shell('echo \'{"pids": {"limit": 32}}\' | RUNTIME update -r - --pids-limit 50 ID'),
        },
        changed={"cpu": _CPU, "pids": _PIDS},
    ),
    Case(
        "update by a document of all kinds",
        ("operation.update",),
        {"linux.resources.pids": {"limit": 90}},
        files={
            "all.json": json.dumps(
                {
                    "memory": {"limit": 90000000, "reservation": 40000000, "swap": 190000000},
                    "cpu": {"shares": 333, "quota": 40000, "period": 80000, "cpus": "0", "mems": "0"},
                    "pids": {"limit": 21},
                    "blockIO": {"throttleReadBpsDevice": [{"major": 254, "minor": 0, "rate": 1048576}]},
                }
            ),
            "runc.json": '{"memory": {"limit": 0, "reservation": 0, "swap": 0}, "cpu": {"shares": 0, "quota": 0,'
            ' "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""},'
            ' "blockIO": {"blkioWeight": 0}}',
            "wrong.json": '{"memory": {"limit": "many"}}',
        },
        verbs=(
            "update -r BUNDLE/all.json ID",
            "update -r BUNDLE/runc.json ID",
            "update -r BUNDLE/wrong.json ID",
            "update -r BUNDLE ID",
            "update -r '' --pids-limit 22 ID",
        ),
        changed={"cpu": _CPU, "memory": _MEMORY, "pids": _PIDS, "blkio": cgroup("blkio.throttle.read_bps_device")},
    ),
    # events
    Case(
        "statistics",
        ("operation.events",),
        {"linux.resources.memory": {"limit": 200000000}, "linux.resources.pids": {"limit": 50}},
        running={
            "names": shell("RUNTIME events --stats ID |" + _python(_NAMES)),
            "limits": shell(
                "RUNTIME events --stats ID |"
                + _python('print(d["type"], d["data"]["pids"], d["data"]["memory"]["usage"]["limit"])')
            ),
        },
    ),
    Case(
        "events that are followed",
        ("operation.events",),
        running={
            "lines": shell(
                "(RUNTIME events --interval 100ms ID > BUNDLE/events & echo $! > BUNDLE/watcher); "
                "until test $(wc -l < BUNDLE/events) -ge 2; do sleep .1; done; kill $(cat BUNDLE/watcher);"
                "head -n 2 BUNDLE/events | cut -c 1-15"
            )
        },
    ),
    # create and run
    Case(
        "names of an id",
        ("operation.create",),
        verbs=tuple(
            f"create --bundle BUNDLE {name}"
            for name in (
                "ID,b",
                "ID~b",
                "'ID b'",
                "ID%b",
                "ID=b",
                "ID#b",
                "IDü",
                "~ID",
                "ID..",
                "..ID",
                ".ID",
                "-ID",
                "--",
            )
        ),
        changed={"list": shell("RUNTIME list -q | sort | sed s/ID/X/")},
    ),
    Case(
        "a bundle of the working directory",
        ("operation.create", "state.bundle"),
        running={
            "made": shell(
                "cd BUNDLE && RUNTIME create ID-b < /dev/null > /dev/null 2>&1; RUNTIME state ID-b | grep bundle"
            ),
            "dot": shell(
                "cd BUNDLE/rootfs && RUNTIME create -b .. ID-c < /dev/null > /dev/null 2>&1;"
                "RUNTIME state ID-c | grep bundle"
            ),
            "link": shell(
                "ln -s BUNDLE BUNDLE/../link; RUNTIME create -b BUNDLE/../link ID-d < /dev/null > /dev/null 2>&1;"
                "RUNTIME state ID-d | grep bundle"
            ),
            "pid": shell(
                "cd BUNDLE && RUNTIME create --pid-file some.pid ID-e < /dev/null > /dev/null 2>&1; test -s some.pid"
            ),
        },
    ),
    Case(
        "a pid file that is there",
        ("operation.create",),
        options=("--pid-file", "BUNDLE/own.pid"),
        files={"own.pid": "something else\n"},
        inside={"ran": "true"},
        after={"file": shell("grep -cE '^[0-9]+$' BUNDLE/own.pid; stat -c %a BUNDLE/own.pid; wc -l < BUNDLE/own.pid")},
    ),
    Case(
        "a pid file that is a directory",
        ("operation.create",),
        options=("--pid-file", "BUNDLE/rootfs"),
        inside={"ran": "true"},
        after={"left": left},
    ),
    Case("detached", ("operation.run",), options=("--detach",), inside={"ran": "true"}),
    Case(
        "detached and its life",
        ("operation.run",),
        running={
            "run": shell(
                "RUNTIME run --detach --pid-file BUNDLE/d.pid --bundle BUNDLE ID-d < /dev/null > /dev/null 2>&1"
            ),
            "state": shell("RUNTIME state ID-d | grep -c running"),
            "again": said("run --detach --bundle BUNDLE ID-d"),
            "killed": shell("RUNTIME kill ID-d KILL; while RUNTIME state ID-d | grep -q running; do sleep .1; done"),
            "stopped": shell("RUNTIME state ID-d | grep -c stopped"),
            "deleted": shell("RUNTIME delete ID-d"),
        },
    ),
    Case(
        "options of run that go together",
        ("operation.run",),
        options=("--no-subreaper", "--no-new-keyring", "--keep=false", "--detach=false", "--preserve-fds=0"),
        inside={"ran": "echo yes"},
    ),
    Case(
        "preserve nothing that is no number",
        ("runtime.descriptors",),
        options=("--preserve-fds", "x"),
        inside={"ran": "true"},
    ),
    Case(
        "preserve less than nothing", ("runtime.descriptors",), options=("--preserve-fds", "-1"), inside={"ran": "true"}
    ),
    Case(
        "preserve what is not open", ("runtime.descriptors",), options=("--preserve-fds", "2"), inside={"ran": "true"}
    ),
    Case(
        "start twice, and others' words",
        ("operation.start",),
        created={"said": said("start ID extra", "start --nonesuch ID", "start -h", "start --help ID")},
        running={"said": said("start ID", "start ID")},
    ),
    Case(
        "delete in all its forms",
        ("operation.delete",),
        verbs=(
            "delete -f bogus",
            "delete --force bogus",
            "delete bogus",
            "delete -f=false bogus",
            "delete -f",
            "delete -f ID",
            "delete -f ID",
            "state ID",
        ),
        after={"left": left},
    ),
    # global options
    Case(
        "help of every verb",
        ("runtime.usage",),
        running={
            "all": verbs("help", "--help", "-h", "h", "--version", "-v", "help exec", "h exec", "help nonesuch"),
            "status": said(
                *(f"{verb} --help" for verb in ("create", "run", "exec", "kill", "list", "update", "spec", "features"))
            ),
        },
    ),
    Case(
        "logs as JSON",
        ("runtime.--log --debug --log-format",),
        running={
            "stderr": shell(
                "RUNTIME --log-format json state other 2>&1 > /dev/null | tail -n 1 |"
                + _python('print(sorted(d), d["level"], "container does not exist" in d["msg"])')
            ),
            "file": shell(
                "RUNTIME --log BUNDLE/l --log-format json exec ID nonesuch 2> /dev/null; tail -n 1 BUNDLE/l |"
                + _python('print(sorted(d), d["level"])')
            ),
            "modes": shell("stat -c %a BUNDLE/l"),
            "appended": shell(
                "RUNTIME --log BUNDLE/l --log-format json state other 2> /dev/null; grep -c level BUNDLE/l"
            ),
            "text": shell("RUNTIME --log BUNDLE/t state other 2> /dev/null; grep -c 'level=error msg=' BUNDLE/t"),
            "good": shell("RUNTIME --log BUNDLE/g state ID > /dev/null; wc -c < BUNDLE/g"),
        },
    ),
    Case(
        "rootless, said of root",
        ("runtime.usage",),
        running={
            "state": verbs(
                "--rootless true state ID",
                "--rootless false state ID",
                "--rootless auto state ID",
            )
        },
    ),
    Case("a value of --rootless that is none", ("runtime.usage",), verbs=("--rootless x state ID",)),
    Case("rootless, said wrongly", ("operation.create",), general=("--rootless", "x"), inside={"ran": "true"}),
    Case("rootless, and root", ("operation.create",), general=("--rootless", "true"), inside={"ran": "true"}),
    Case(
        "a root that is relative",
        ("operation.list",),
        running={
            "list": shell("cd BUNDLE/.. && C='RUNTIME'; ${C%--root*} --root state list -q"),
            "state": shell("cd BUNDLE/.. && C='RUNTIME'; ${C%--root*} --root ./state/ state ID > /dev/null"),
        },
    ),
    # spec, features
    Case(
        "spec where it is",
        ("operation.spec",),
        running={
            "here": shell("mkdir BUNDLE/s && cd BUNDLE/s && RUNTIME spec && stat -c '%a' config.json"),
            "again": shell("cd BUNDLE/s && RUNTIME spec"),
            "words": said("spec extra", "spec --nonesuch"),
        },
    ),
    Case(
        "features and their words",
        ("operation.features",),
        verbs=("features extra", "features --nonesuch"),
        running={
            "document": shell(
                "RUNTIME features |"
                + _python('print(d["ociVersionMin"], d["hooks"], d["linux"]["seccomp"]["enabled"])')
            )
        },
    ),
    # checkpoint, restore
    Case(
        "checkpoint and restore of what cannot be",
        ("operation.checkpoint", "operation.restore"),
        running={
            "said": said(
                "checkpoint --image-path /proc/nonesuch ID",
                "checkpoint --nonesuch ID",
                "checkpoint",
                "restore --bundle BUNDLE ID",
                "restore --bundle BUNDLE --image-path /proc/nonesuch other",
                "restore --bundle /nonesuch other",
                "restore",
            )
        },
        changed={"state": state("status")},
    ),
    # pause
    Case(
        "paused and killed",
        ("operation.pause", "operation.kill", "operation.delete"),
        verbs=("pause ID", "kill ID KILL", "delete --force ID", "state ID"),
        after={"left": left},
    ),
    Case(
        "paused, and asked",
        ("operation.pause",),
        verbs=(
            "pause ID",
            "ps -f json ID",
            "update --pids-limit 44 ID",
            "kill ID WINCH",
            "start ID",
            "state ID",
            "resume ID",
        ),
        changed={"pids": _PIDS},
    ),
)
