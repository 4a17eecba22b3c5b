"""What an integration test may ask, as runc's manual pages, changelog and messages lead one to."""

from __future__ import annotations

from ..case import Case
from ..observers import said

CASES = (
    Case(
        "what hides a directory",
        ("linux.maskedPaths",),
        {"linux.maskedPaths": ["/hidden", "/hidden.txt", "/nonesuch"]},
        files={"rootfs/hidden/inner/file": "text\n", "rootfs/hidden.txt": "text\n"},
        inside={
            "mounts": "awk '$5 ~ /hidden/ {print $5, $(NF-2), $(NF-1)}' /proc/self/mountinfo",
            "list": "ls -A /hidden",
            "read": "cat /hidden.txt",
            "write": "touch /hidden/x",
            "written": "echo more > /hidden.txt; cat /hidden.txt",
        },
    ),
    Case(
        "a limit below what is used",
        ("operation.update",),
        running={"said": said("update --memory 4096 ID")},
    ),
    Case(
        "a rootfs that is the bundle",
        ("root.path",),
        {"root.path": "rootfs/../rootfs/."},
        inside={"ran": "pwd; ls -d /bin"},
    ),
)
