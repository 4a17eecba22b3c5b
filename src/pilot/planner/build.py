"""The digest of the package's sources: `pilot` is compiled with it, and a planner that runs others is not asked.

python -m pilot.planner.build        prints it
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def digest(package: Path = _PACKAGE) -> str:
    """Of the names and contents of all Python files and libraries of the package, or of one that is being built."""
    total = hashlib.sha256()
    files = [*package.rglob("*.py"), *package.rglob("*.so")]
    for path in sorted(files):
        total.update(f"{path.relative_to(package)}\0{path.stat().st_size}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    print(digest())
