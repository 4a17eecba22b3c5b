"""Parts of pages that programs write: what stands between two marks is theirs."""

from __future__ import annotations

import pathlib


def write_between(page: pathlib.Path, begin: str, end: str, text: str) -> None:
    """`text` takes the place of what is between the marks; they are made at the page's end where they are missing."""
    content = page.read_text()
    if begin not in content:
        content = f"{content.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = content.split(begin, 1)
    _, after = rest.split(end, 1)
    page.write_text(f"{before}{begin}\n{text}{end}{after}")
