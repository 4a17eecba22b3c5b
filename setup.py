"""The extension modules; everything else about the package is in pyproject.toml.

They are built against the stable ABI, so that the same file serves the host's Python and the one in the guest image.
`pilot.kernel._launch` carries `pilot-launch`, a small static program (native/launch/stage.c), which is built first.
"""

import os
import platform
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

LAUNCH = "pilot.kernel._launch"
STAGE = "native/launch/stage.c"
STATIC_CC = "native/static-cc"
SOURCES = sorted(set(glob("native/launch/*.c")) - {STAGE})
STAGE_SOURCES = [
    STAGE,
    *(f"native/launch/{name}.c" for name in ["calls", "channel", "copy", "paths", "process", "program", "start"]),
]
LIMITED = [("Py_LIMITED_API", "0x030b0000"), ("_GNU_SOURCE", "1")]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing"]
HARDENED = ["-fstack-protector-strong", "-fstack-clash-protection", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
LINKED = ["-Wl,-z,relro,-z,now,-z,noexecstack"]


class Build(build_ext):
    """Builds the stage, then the extension around it."""

    def build_extension(self, extension: Extension) -> None:
        """musl's C library has no kernel headers of its own: those of the system come last."""
        if extension.name != LAUNCH:
            super().build_extension(extension)
            return
        stage = os.path.abspath(os.path.join(self.build_temp, "pilot-launch"))
        os.makedirs(self.build_temp, exist_ok=True)
        headers = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{platform.machine()}-linux-gnu"]
        self.spawn([STATIC_CC, "-Os", "-s", *WARNINGS, "-D_GNU_SOURCE", *headers, "-o", stage, *STAGE_SOURCES])
        extension.define_macros.append(("STAGE", f'"{stage}"'))
        super().build_extension(extension)


setup(
    cmdclass={"build_ext": Build},
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
