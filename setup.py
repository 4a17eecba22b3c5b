"""What is compiled; everything else about the package is in pyproject.toml.

    pilot/kernel/_launch, pilot/volume/_lookaside   extension modules, against the stable ABI: the same file serves the
                                                    host's Python and the one in the guest image
    pilot/kernel/bin/pilot-init                     PID 1 of a machine, and the keeper of volumes
    pilot/image/inputs                              guest/, what images are built from
    bin/pilot, bin/pilot-cold                       the command line and its Python half (native/front/execute.c)

`pilot.kernel._launch` carries `pilot-launch`, a small static program (native/launch/stage.c), which is built first.
`make build` puts a `pilot` of its own over the one here: it knows where it is, and starts from one file of code.
"""

import os
import runpy
import shutil
from glob import glob
from pathlib import Path

from setuptools import Extension, setup  # before distutils, which it brings
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

from distutils.command.build_scripts import build_scripts  # isort: skip

LAUNCH = "pilot.kernel._launch"
STAGE = "native/launch/stage.c"
STATIC_CC = "native/static-cc"
SOURCES = sorted(set(glob("native/launch/*.c")) - {STAGE})
STAGE_SOURCES = [
    STAGE,
    *(f"native/launch/{name}.c" for name in ["calls", "channel", "copy", "paths", "process", "program", "start"]),
]
INIT_SOURCES = sorted(glob("native/init/*.c"))
FRONT_SOURCES = sorted(glob("native/front/*.c"))
SOCKET = "/run/pilot-planner/socket"
LIMITED = [("Py_LIMITED_API", "0x030b0000"), ("_GNU_SOURCE", "1")]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing"]
HARDENED = ["-fstack-protector-strong", "-fstack-clash-protection", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
LINKED = ["-Wl,-z,relro,-z,now,-z,noexecstack"]


class BuildInputs(build_py):
    """With guest/, where it is not beside the package."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("guest", os.path.join(self.build_lib, "pilot/image/inputs"), dirs_exist_ok=True)


class BuildBinaries(build_ext):
    """Init; the stage, then the extension around it."""

    def run(self) -> None:
        super().run()
        init = Path(self.get_ext_fullpath(LAUNCH)).parent / "bin/pilot-init"
        init.parent.mkdir(parents=True, exist_ok=True)
        self.spawn([STATIC_CC, "-o", os.fspath(init), *INIT_SOURCES])

    def build_extension(self, extension: Extension) -> None:
        if extension.name == LAUNCH:
            stage = os.path.abspath(os.path.join(self.build_temp, "pilot-launch"))
            os.makedirs(self.build_temp, exist_ok=True)
            self.spawn([STATIC_CC, "-s", "-o", stage, *STAGE_SOURCES])
            extension.define_macros.append(("STAGE", f'"{stage}"'))
        super().build_extension(extension)


class BuildFront(build_scripts):
    """`pilot`, which carries the digest of the package as it has been built until here."""

    def run(self) -> None:
        super().run()
        build = self.get_finalized_command("build_py")
        package = Path("src/pilot" if build.editable_mode else os.path.join(build.build_lib, "pilot"))
        digest = runpy.run_path("src/pilot/planner/build.py")["digest"](package)
        defines = [f'-D{name}="{value}"' for name, value in (("BUILD", digest), ("SOCKET", SOCKET))]
        self.spawn([STATIC_CC, "-s", *defines, "-o", os.path.join(self.build_dir, "pilot"), *FRONT_SOURCES])


setup(
    cmdclass={"build_py": BuildInputs, "build_ext": BuildBinaries, "build_scripts": BuildFront},
    scripts=["bin/pilot-cold"],
    ext_modules=[
        Extension(
            "pilot.volume._lookaside",
            sources=sorted(glob("native/volume/*.c")),
            depends=glob("native/volume/*.h"),
            define_macros=LIMITED,
            extra_compile_args=["-O2", *WARNINGS, *HARDENED],
            extra_link_args=LINKED,
            py_limited_api=True,
        ),
        Extension(
            LAUNCH,
            sources=SOURCES,
            depends=[STAGE, STATIC_CC, *glob("native/launch/*.h")],
            define_macros=[*LIMITED],
            extra_compile_args=["-O2", *WARNINGS, *HARDENED],
            extra_link_args=LINKED,
            py_limited_api=True,
        ),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
