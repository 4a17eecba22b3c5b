"""Image references, as the distribution project has them (the grammar at the top of its `reference` package).

    reference := [ domain "/" ] path [ ":" tag ] [ "@" digest ]
    domain    := host [ ":" port ]           host := name | IPv4 | "[" IPv6 "]"
    path      := component *( "/" component )

What is short is made whole as docker does it: the first component is a domain only if it has a dot, a colon or a
capital, or is `localhost`; else the domain is docker.io, and one component there is below `library/`. Without tag and
digest the tag is `latest`. A digest beats the tag that stands beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ... import errors
from . import digest as digests
from .digest import Digest

DOCKER_HUB = "docker.io"
_LONGEST_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_DOMAIN_WHOLE = re.compile(_DOMAIN)
_PATH_WHOLE = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG_WHOLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
# `docker run 64-HEX` means an image by its id; as a name it would be read as something else elsewhere.
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True)
class Reference:
    """One image of one repository, by tag or digest; `str()` is the whole form, which `parse` reads back."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The repository, with its registry."""
        return f"{self.domain}/{self.path}"

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest, or the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse(text: str) -> Reference:
    """SpecError that says what is wrong with it."""
    rest, at, digest_text = text.partition("@")
    name, tag = _split_tag(rest)
    if _IDENTIFIER.fullmatch(name):
        raise _refusal(text, "64 hexadecimal digits are an image's id, not a name")
    domain, path = _split_domain(name)
    _check(text, domain, path, tag)
    digest = digests.parse(digest_text) if at else None
    return Reference(domain, path, tag if tag or digest else "latest", digest)


def _split_tag(text: str) -> tuple[str, str | None]:
    """The colon of a tag comes after the last slash; before it there are those of a port or an IPv6 address."""
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    return head + slash + name, tag if colon else None


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or first != first.lower() or set(first) & set(".:[")):
        domain, path = first, rest
    else:
        domain, path = DOCKER_HUB, name
    if domain == "index.docker.io":
        domain = DOCKER_HUB
    return domain, f"library/{path}" if domain == DOCKER_HUB and "/" not in path else path


def _check(text: str, domain: str, path: str, tag: str | None) -> None:
    if not _DOMAIN_WHOLE.fullmatch(domain):
        raise _refusal(text, f"{domain!r} is no host with an optional port")
    if path != path.lower():
        raise _refusal(text, "the name of a repository has no capitals")
    if not _PATH_WHOLE.fullmatch(path):
        raise _refusal(text, f"{path!r} is no name of a repository")
    if len(domain) + 1 + len(path) > _LONGEST_NAME:
        raise _refusal(text, f"a name has at most {_LONGEST_NAME} characters")
    if tag is not None and not _TAG_WHOLE.fullmatch(tag):
        raise _refusal(text, f"{tag!r} is no tag")


def _refusal(text: str, problem: str) -> errors.SpecError:
    shown = text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"
    return errors.SpecError("image reference", f"{shown!r}: {problem}")
