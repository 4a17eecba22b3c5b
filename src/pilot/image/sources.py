"""Which Debian archive to build from: the machine's own apt configuration says it, we never name one.

Read are deb822 `*.sources` and one-line `*.list` files. Kept are the entries of the wanted release itself (`bookworm`,
`bookworm-security`, ...): a third party's archive has no say in what a standard image contains.
"""

from __future__ import annotations

import glob
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field

from .. import errors

_POCKETS = ("", "-updates", "-security")


@dataclass(frozen=True)
class Source:
    """One archive: what apt needs to fetch and verify it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = field(default="")

    def render(self, *, signed: bool = True) -> str:
        """The deb822 stanza; `signed=False` leaves the key to apt's own trust, as inside an image."""
        lines = ["Types: deb", f"URIs: {' '.join(self.uris)}", f"Suites: {' '.join(self.suites)}"]
        lines.append(f"Components: {' '.join(self.components)}")
        if signed and self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def machine_sources(release: str, root: str = "/etc/apt") -> tuple[Source, ...]:
    """The entries for `release` that this machine's apt uses; `HostError` when it uses none."""
    found = tuple(_of_release(release, _read(root)))
    if not found:
        raise errors.HostError(
            f"read {root}: no archive of Debian {release} is configured",
            hint=f"add a sources file for {release}; the images are built from it",
        )
    return found


def render(sources: tuple[Source, ...], *, signed: bool = True) -> str:
    """A deb822 file of all `sources`; without user names and passwords when it goes into an image (`signed=False`)."""
    chosen = sources if signed else tuple(map(_without_secrets, sources))
    return "\n".join(source.render(signed=signed) for source in chosen)


def _without_secrets(source: Source) -> Source:
    parts = [urllib.parse.urlsplit(uri) for uri in source.uris]
    bare = (part._replace(netloc=part.netloc.rpartition("@")[2]).geturl() for part in parts)
    return Source(tuple(bare), source.suites, source.components, source.signed_by)


def _of_release(release: str, sources: Iterator[Source]) -> Iterator[Source]:
    wanted = {release + pocket for pocket in _POCKETS}
    for source in sources:
        suites = tuple(suite for suite in source.suites if suite in wanted)
        if suites and "main" in source.components:
            yield Source(source.uris, suites, source.components, source.signed_by)


def _read(root: str) -> Iterator[Source]:
    for path in sorted(glob.glob(os.path.join(root, "sources.list.d", "*.sources"))):
        yield from parse_deb822(_text(path))
    lists = [os.path.join(root, "sources.list"), *sorted(glob.glob(os.path.join(root, "sources.list.d", "*.list")))]
    for path in filter(os.path.exists, lists):
        yield from parse_one_line(_text(path))


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def parse_deb822(text: str) -> Iterator[Source]:
    """Stanzas → binary sources; disabled ones and those with an embedded key are left out."""
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", bare):
        fields = {
            key.lower(): value.split() for key, value in re.findall(r"(?m)^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza)
        }
        enabled = fields.get("enabled", ["yes"])[0].lower() not in {"no", "false", "0"}
        signed_by = fields.get("signed-by", [])
        if enabled and "deb" in fields.get("types", []) and len(signed_by) <= 1 and fields.get("uris"):
            yield Source(
                tuple(fields["uris"]),
                tuple(fields.get("suites", [])),
                tuple(fields.get("components", [])),
                "".join(signed_by),
            )


def parse_one_line(text: str) -> Iterator[Source]:
    """`deb [options] URI suite component...` lines → sources."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)", line)
        if match is None:
            continue
        options = dict(option.partition("=")[::2] for option in (match[1] or "").split())
        yield Source((match[2],), (match[3],), tuple(match[4].split()), options.get("signed-by", ""))
