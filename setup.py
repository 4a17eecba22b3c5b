"""The extension module; everything else about the package is in pyproject.toml.

`pilot.kernel._launch` is built against the stable ABI, so that the same file serves the host's
Python and the one in the guest image.
"""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "pilot.kernel._launch",
            sources=sorted(glob("native/launch/*.c")),
            depends=sorted(glob("native/launch/*.h")),
            define_macros=[("Py_LIMITED_API", "0x030b0000"), ("_GNU_SOURCE", "1")],
            extra_compile_args=["-O2", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing"],
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
