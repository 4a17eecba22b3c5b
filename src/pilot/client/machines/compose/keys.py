"""Every key of a service, as the Compose Specification has them, and what becomes of it (a test holds this whole).

USED      becomes something of the container or the Machine
PASSED    nothing would be missed: said to people, or so in any case
NOTED     otherwise than it says, which is told
REFUSED   it would be missed: with what may be done instead
"""

from __future__ import annotations

USED = frozenset(
    [
        "image",
        "command",
        "entrypoint",
        "environment",
        "env_file",
        "depends_on",
        "links",
        "healthcheck",
        "ports",
        "volumes",
        "tmpfs",
        "configs",
        "secrets",
        "restart",
        "user",
        "stop_signal",
        "stop_grace_period",
        "profiles",
        "container_name",
        "hostname",
        "networks",
        "network_mode",
        "deploy",
        "scale",
        "build",
        "read_only",
        "privileged",
        "tty",
        "stdin_open",
        "pid",
        "ipc",
    ]
)
PASSED = frozenset(
    ["annotations", "attach", "develop", "expose", "labels", "label_file", "init", "pull_policy", "pull_refresh_after"]
)
NOTED = {
    "logging": "'pilot machine logs' has what it writes",
    "platform": "the image is that of the host's own platform",
    "networks": "the containers of a Machine share one network",
}
_ALL_ONE = "a Machine's containers share its size: give it with --memory and --cpus"
_KERNEL = "its container is as every other: there is no way to say that"
_RESOLVER = "names are answered by the app's own resolver"
REFUSED = {
    "mem_limit": _ALL_ONE, "mem_reservation": _ALL_ONE, "mem_swappiness": _ALL_ONE, "memswap_limit": _ALL_ONE,
    "cpus": _ALL_ONE, "cpu_count": _ALL_ONE, "cpu_percent": _ALL_ONE, "cpu_period": _ALL_ONE, "cpu_quota": _ALL_ONE,
    "cpu_rt_period": _ALL_ONE, "cpu_rt_runtime": _ALL_ONE, "cpu_shares": _ALL_ONE, "cpuset": _ALL_ONE,
    "pids_limit": _ALL_ONE, "blkio_config": _ALL_ONE, "oom_kill_disable": _ALL_ONE, "oom_score_adj": _ALL_ONE,
    "shm_size": _ALL_ONE, "storage_opt": _ALL_ONE, "ulimits": _KERNEL,
    "cap_add": _KERNEL, "cap_drop": _KERNEL, "cgroup": _KERNEL, "cgroup_parent": _KERNEL,
    "device_cgroup_rules": _KERNEL,
    "devices": _KERNEL, "gpus": "this host has none for Machines", "group_add": _KERNEL, "isolation": _KERNEL,
    "runtime": _KERNEL, "security_opt": _KERNEL, "sysctls": _KERNEL, "userns_mode": _KERNEL, "uts": _KERNEL,
    "use_api_socket": "there is no engine to be asked", "credential_spec": _KERNEL, "mac_address": _KERNEL,
    "dns": _RESOLVER, "dns_opt": _RESOLVER, "dns_search": _RESOLVER, "domainname": _RESOLVER,
    "extra_hosts": "put them into a file: configs with the target /etc/hosts",
    "external_links": "other Machines of the app are <id>.vm.<app>.internal",
    "extends": "write what it has here ('docker compose config' does)",
    "volumes_from": "say the volumes here", "working_dir": "it is the image's: say command as [sh, -c, 'cd …; exec …']",
    "post_start": "a service with depends_on may do it", "pre_stop": "the program is sent its stop_signal",
    "models": "run it as a service", "provider": "run it as a service",
}  # fmt: skip
# Of USED, what only one thing can be said with: what is no refusal.
ONLY = {
    "read_only": ("false",), "privileged": ("false",), "tty": ("false",), "stdin_open": ("false",),
    "pid": (), "ipc": ("private", "shareable", "none"), "scale": ("1",),
}  # fmt: skip
TOP = frozenset({"name", "version", "services", "networks", "volumes", "secrets", "configs"})
TOP_REFUSED = {"include": "write what it has here ('docker compose config' does)", "models": "run it as a service"}
