"""What a task may have of the host."""

from __future__ import annotations

import pathlib

import pytest

from pilot import errors
from pilot.shim import tasks, wanted
from pilot.wire import graph


def test_only_directories_are_bound(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    root = wanted.Bind("root", str(tmp_path), "/", False)
    for name, is_good in {".": True, "file": False, "none": False}.items():
        bind = wanted.Bind("bind", str(tmp_path / name), "/x", True)
        plan = wanted.Wanted("web", root, (bind,), graph.ContainerSpec(command=["sh"]))
        if is_good:
            tasks.check_directories(plan)
        else:
            with pytest.raises(errors.SpecError, match="only directories"):
                tasks.check_directories(plan)
