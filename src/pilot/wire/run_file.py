"""run.json, as the init before this one was given it. Unknown names are ignored, as it ignored them."""

from __future__ import annotations

import msgspec


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What the image says of its process."""

    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None
    working_dir: str | None = None
    user: str | None = None


class IPConfig(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An address of eth0, and its gateway, with or without a prefix; `mask` is the prefix that counts."""

    gateway: str
    ip: str = msgspec.field(name="IP")
    mask: int


class RunMount(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An ext4 on a drive; a directory of the machine does as well."""

    mount_path: str
    device_path: str


class EtcHost(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A line of /etc/hosts."""

    host: str
    ip: str = msgspec.field(name="IP")
    desc: str | None = None


class EtcResolv(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """/etc/resolv.conf."""

    nameservers: list[str]


class RunFile(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """PUT /v1/run, and /fly/run.json of the machine's root: one process, the machine's main one.

    `exec_override` replaces all of the image's command, `cmd_override` is one argument after its entrypoint. `tty` was
    never looked at. `root_device`: a drive with an ext4, or a directory of the machine.
    """

    image_config: ImageConfig | None = None
    exec_override: list[str] | None = None
    extra_env: dict[str, str] | None = None
    user_override: str | None = None
    cmd_override: str | None = None
    ip_configs: list[IPConfig] | None = msgspec.field(default=None, name="IPConfigs")
    tty: bool = False
    hostname: str
    mounts: list[RunMount] | None = None
    root_device: str | None = None
    etc_resolv: EtcResolv | None = None
    etc_hosts: list[EtcHost] | None = None
