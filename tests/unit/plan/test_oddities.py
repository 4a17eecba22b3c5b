"""What a config.json asks for that nobody can have any more, or says twice: told, in runc's words."""

from __future__ import annotations

import msgspec
import pytest

from pilot.plan import identity
from pilot.spec.linux import Linux

_MAPPING = '[{"containerID": 0, "hostID": 1000, "size": 1}]'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", ()),
        ('{"personality": {"domain": "LINUX32"}}', ()),
        (
            '{"personality": {"domain": "LINUX", "flags": ["A", "B"]}}',
            ("ignoring unsupported personality flags: [A B] ",),
        ),
        ('{"resources": {"memory": {"limit": 5}}}', ()),
        ('{"resources": {"memory": {"kernel": 5}}}', ("Kernel memory settings are ignored and will be removed",)),
        ('{"resources": {"memory": {"kernelTCP": 5}}}', ()),
        (f'{{"namespaces": [{{"type": "user"}}], "uidMappings": {_MAPPING}}}', ()),
        ('{"namespaces": [{"type": "user", "path": "/proc/5/ns/user"}]}', ()),
        (
            f'{{"namespaces": [{{"type": "user", "path": "/proc/5/ns/user"}}], "gidMappings": {_MAPPING}}}',
            ("config.json has both a userns path to join and a matching userns mapping specified",),
        ),
    ],
)
def test_what_is_told(text: str, words: tuple[str, ...]) -> None:
    found = identity.find_oddities(msgspec.json.decode(text, type=Linux))
    assert len(found) == len(words)
    assert all(line.startswith(start) for line, start in zip(found, words, strict=True))
