"""One target under libFuzzer, guided by the coverage of our Python (and h11, wsproto, dnspython).

    python -m tests.fuzz.drive TARGET [libFuzzer's OPTION | DIRECTORY ...]

The campaign (`tests.fuzz.campaign`) starts one of these for each target.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["pilot", "h11", "wsproto", "dns"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz import mutate
from tests.fuzz.target import Form

_MUTATORS = {Form.JSON: mutate.JSON, Form.MSGPACK: mutate.MSGPACK}


def main() -> None:
    """Does not return: libFuzzer ends the process."""
    target = TARGETS[sys.argv[1]]
    arguments = [sys.argv[0], f"-max_len={target.max_bytes}", *sys.argv[2:]]
    if target.form in _MUTATORS:
        atheris.Setup(arguments, target.check, custom_mutator=_MUTATORS[target.form])
    else:
        atheris.Setup(arguments, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
