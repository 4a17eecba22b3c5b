"""Bodies of the calls about services, as the Sprites API has them: what a sprite runs by itself, awake or woken."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

ServiceStatus = Literal["stopped", "starting", "running", "stopping", "failed"]
HttpPort = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class ServiceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """PUT /v1/services/{service}. `needs`: services that are started before it. `http_port`: what its URL leads to."""

    cmd: str
    args: list[str] = []
    env: dict[str, str] = {}
    dir: str | None = None
    needs: list[str] = []
    http_port: HttpPort | None = None


class ServiceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`error`: why it failed, or waits. `next_restart_at`: while it backs off."""

    name: str
    status: ServiceStatus
    pid: int | None = None
    started_at: str | None = None
    error: str | None = None
    restart_count: int = 0
    next_restart_at: str | None = None


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, and what is so."""

    name: str
    cmd: str
    args: list[str]
    env: dict[str, str]
    dir: str | None
    needs: list[str]
    http_port: int | None
    state: ServiceState


class ServiceSignal(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/services/signal."""

    name: str
    signal: str


class ServiceEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of what services do. `timestamp`: milliseconds of Unix time. `log_files`: of `complete`, the last."""

    type: Literal["started", "stdout", "stderr", "exit", "error", "stopping", "stopped", "complete"]
    timestamp: int
    data: str | None = None
    exit_code: int | None = None
    log_files: dict[str, str] | None = None
