"""What a sprite does that knows no bounds: shell scripts for its root, each without end."""

from __future__ import annotations

SCRIPTS = {
    "forks": "b() { b | b & }; b",
    "memory": "for n in 1 2 3 4; do python3 -c 'x = [bytearray(1 << 20) for _ in range(1 << 14)]' & done",
    "syncs": "for n in 1 2 3 4; do (while :; do sync; done) & done",
    "disk": "while :; do dd if=/dev/zero of=/var/tmp/fill bs=1M count=256 conv=fsync; rm /var/tmp/fill; done &",
    "names": "for n in 1 2; do (while :; do unshare -n true; done) & done",
    "mounts": "for n in 1 2; do (while :; do unshare -m true; done) & done",
}


def command(kind: str, seconds: float) -> tuple[str, ...]:
    """For so long; what it has forked may go on afterwards."""
    script = f"({SCRIPTS[kind]}) >/dev/null 2>&1; sleep {seconds}"
    return ("sudo", "timeout", "-s", "KILL", str(seconds), "sh", "-c", script)
