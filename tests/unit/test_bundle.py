"""The bundle of modules that the cold command line starts from: what is taken from it, and what is not any more."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from pathlib import Path

from pilot import bundled


def _row(source: Path, content: bytes) -> bundled.Row:
    found = source.stat()
    return str(source), found.st_mtime_ns, found.st_size, False, 0, len(content)


def _importer(source: Path) -> bundled.Importer:
    """Of one module, whose code is another than its source's, so that it shows which was taken."""
    content = marshal.dumps(compile("origin = 'bundle'", str(source), "exec"))
    return bundled.Importer({"bundled_example": _row(source, content)}, {}, memoryview(content))


def test_a_module_is_taken_from_the_bundle(tmp_path: Path) -> None:
    source = tmp_path / "bundled_example.py"
    source.write_text("origin = 'file'")
    importer = _importer(source)
    spec = importer.find_spec("bundled_example")
    assert spec is not None
    assert (spec.origin, spec.has_location) == (str(source), True)
    scope: dict[str, object] = {}
    exec(importer.get_code("bundled_example"), scope)
    assert scope["origin"] == "bundle"


def test_one_whose_source_has_changed_is_not(tmp_path: Path) -> None:
    source = tmp_path / "bundled_example.py"
    source.write_text("origin = 'file'")
    importer = _importer(source)
    source.write_text("origin = 'newer'")
    assert importer.find_spec("bundled_example") is None
    source.unlink()
    assert importer.find_spec("bundled_example") is None
    assert importer.find_spec("bundled_other") is None


def test_the_command_line_has_all_its_modules_from_it() -> None:
    """`pilot-cold`, with what it imports told (-v): ours are found by the bundle's importer."""
    cold = Path(sys.prefix) / "bin/pilot-cold"
    done = subprocess.run(
        [sys.executable, "-ISv", str(cold), "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = [line for line in done.stderr.splitlines() if line.startswith("import 'pilot")]
    assert len(loaded) > 20
    assert [line for line in loaded if "Importer object" not in line] == []


def test_it_does_without(tmp_path: Path) -> None:
    """As before the bundle is made."""
    cold = (Path(sys.prefix) / "bin/pilot-cold").read_text()
    bundle = os.path.join(sys.prefix, "lib/pilot-cold.bundle")
    assert bundle in cold
    (tmp_path / "cold").write_text(cold.replace(bundle, str(tmp_path / "none")))
    (tmp_path / "damaged").write_bytes(b"not of this Python")
    (tmp_path / "other").write_text(cold.replace(bundle, str(tmp_path / "damaged")))
    for script in ("cold", "other"):
        command = [sys.executable, "-IS", str(tmp_path / script), "--version"]
        assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.startswith(
            "pilot"
        )
