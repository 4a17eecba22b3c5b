"""What is tried and what holds it, one row a test, as data; and the table of them in a page.

A row is found by the name of its probe, or of its test without `test_`.
"""

from __future__ import annotations

import pathlib
from typing import NamedTuple

from tests.support import pages

# A table for each isolation.
MARKS = {
    "container": ("<!-- make adversary: begin -->", "<!-- make adversary: end -->"),
    "vm": ("<!-- make adversary vm: begin -->", "<!-- make adversary vm: end -->"),
}


class Row(NamedTuple):
    """`where`: `c` in a user-namespaced machine, `v` in a virtual machine."""

    tried: str
    held_by: str
    where: str = "c v"


_USERNS = "the world's user namespace has no capability over the kernel"
_NEIGHBOUR = "a neighbour, whose rows are committed and who is asked things meanwhile, sees no error and loses none"

ROWS: dict[str, Row] = {
    "descriptors_of_the_first_process": Row(
        "descriptors of the world's PID 1 (`/proc/1/fd`)", "it has its own signalfd and table, and `/dev/null`"
    ),
    "descriptors_of_a_session": Row("descriptors that a session inherits", "all are close-on-exec but 0, 1 and 2"),
    "roots_of_processes": Row(
        "`/proc/*/root`, `/proc/*/cwd`, `/proc/1/ns/*`", "what enters a world is not dumpable, or not in its pids"
    ),
    "chroot_and_up": Row("up from a chroot by a descriptor from before", "the world's root is its mount namespace's"),
    "namespaces_outside": Row("parents and owners of namespaces by ioctl", "the kernel tells those below the caller's"),
    "handles_of_namespaces_and_processes": Row(
        "namespaces and processes by file handle, counted up (nsfs, pidfs)", "only the caller's own can be opened"
    ),
    "handles_of_host_files": Row(
        "inodes of the host's disk by file handle, through the one file that is bound from it",
        "nothing but what is below that mount can be opened",
    ),
    "mounts_of_others": Row("`listmount` of other mount namespaces, by number", _USERNS),
    "sockets_with_abstract_names": Row(
        "abstract sockets in the network namespace of the world", "init, agent and pilotd listen on none"
    ),
    "ports_of_the_machine": Row("ports in the network namespace of the world", "nothing of pilot listens"),
    "kernel_memory_and_logs": Row("kcore, mem, kmsg, kallsyms, tracing, syslog(2)", f"not there, or {_USERNS}", "c"),
    "sysctls": Row(
        "every file of `/proc/sys`, sysrq, core_pattern, opened for writing",
        "only those of namespaces that the world owns (network, uts, ipc, pid, user) open",
        "c",
    ),
    "sysfs_made_writable": Row(
        "every file of `/sys` written back", "they are the host's root's, but those of the world's own network", "c"
    ),
    "modules_and_other_kernels": Row("modules, kexec, acct, quotas, I/O ports", _USERNS),
    "the_clock": Row("the clock", _USERNS),
    "bpf_and_perf": Row("BPF programs and maps, perf events of the machine", _USERNS),
    "fanotify_of_a_filesystem": Row("fanotify that holds up others", _USERNS),
    "priorities": Row("real-time scheduling, a lower nice value, no OOM killer", _USERNS),
    "device_nodes": Row("device nodes of disks, loop devices, memory", "`/dev` has none; mknod is refused, nodev"),
    "filesystems_of_the_host": Row("every filesystem type of the kernel, mounted", "those of namespaces and of memory"),
    "files_bound_from_the_host": Row(
        "the files that are bound in from the host's disk, made writable again: chmod, chown, times, xattr, open",
        "their owner is nobody in the machine: the root that all machines share is not idmapped",
        "c",
    ),
    "the_disk_itself": Row("shutdown, freeze, resize, trim of the world's own filesystem", _USERNS),
    "release_agents": Row("cgroup v1 `release_agent`", "only the root of a hierarchy has it"),
    "device_rules_of_cgroups": Row("`devices.allow` of its own cgroup", _USERNS),
    "the_machines_network": Row(
        "AF_VSOCK; the network namespace of init and agent", "seccomp; the world has a network namespace of its own"
    ),
    "frames_of_ones_own_making": Row(
        "raw frames from root of a world, which owns its network: other sources, IPv4 and IPv6, a neighbour's too, "
        "source routes, VLAN tags, protocols that are neither TCP, UDP nor echo",
        "the gateway: dropped and counted",
    ),
    "a_network_of_ones_own_taken_apart": Row(
        "root of a world deletes its card, its routes, all its rules; puts up bridges where its kernel has any",
        "it is cut off, and nobody else; the next start of its world has a network as new",
    ),
    "cgroups_below_the_cgroups": Row(
        "unmounting `/sys/fs/cgroup`, to write the machine's own cgroups below",
        "the world's `/sys` is a mount of its own",
    ),
    "a_sprite_that_freezes_itself_can_be_ended": Row(
        "a sprite that freezes itself, in cgroups of its own below, and then is restored or destroyed",
        "all below a cgroup is thawed when it is killed; no thread of the agent waits for what it has killed",
    ),
    "a_thousand_connections_that_say_nothing": Row("a thousand connections that say nothing", _NEIGHBOUR),
    "heads_that_never_end": Row("400 heads, a byte at a time, that never end", _NEIGHBOUR),
    "heads_of_a_mebibyte": Row("heads of a mebibyte", f"431, and the connection ends; {_NEIGHBOUR}"),
    "requests_in_a_row_that_nobody_reads_the_answers_of": Row(
        "pipelined requests without end, whose answers nobody reads", f"reading pauses; {_NEIGHBOUR}"
    ),
    "watchers_by_the_thousand": Row("1500 watchers of all sprites, while sprites come and go", _NEIGHBOUR),
    "tokens_that_nobody_gave": Row("long tokens that nobody gave, by eight clients at once", f"401; {_NEIGHBOUR}"),
    "a_storm_of_commands": Row("commands in one sprite, by eight clients as fast as they can", _NEIGHBOUR),
    "without_memory_for_threads_it_goes_on_and_stops": Row(
        "pilotd without memory for threads, while eight clients ask",
        "what finds no thread is begun later; it stops when it is told to",
    ),
    "a_sprite_out_of_bounds": Row(
        "a sprite that forks, takes memory, calls sync(2), writes its disk, makes namespaces of network or mounts, "
        "without end", f"limits of its machine; {_NEIGHBOUR}"
    ),
}  # fmt: skip


def table(seen: dict[str, str], isolation: str) -> str:
    """`seen`: row → "held", or what gave way."""
    head = f"Seen by `make adversary` (isolation `{isolation}`):\n\n"
    head += "| what is tried | what holds it | where | seen |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {row.tried} | {row.held_by} | {row.where} | {seen[name]} |\n" for name, row in ROWS.items() if name in seen
    )


def write(page: pathlib.Path, text: str, isolation: str) -> None:
    """Between the page's marks, or at its end."""
    pages.write_between(page, *MARKS[isolation], text)
