"""Help as a terminal shows it: no word is broken, whatever its width; and what a program reads is one line each."""

from __future__ import annotations

import pytest

from pilot.client import helping, output, running, verbs, words


@pytest.mark.parametrize("width", [30, 40, 62, 80, 100, 200])
def test_no_line_is_longer_than_a_terminal_and_no_text_is_lost(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what has no end between words: names, options, examples."""
    rows = [(option.describe(), option.text) for option in (*words.GLOBAL, *verbs.VERBS[-9].options)]
    rows += [(verb.words, verb.text) for verb in verbs.VERBS]
    monkeypatch.setattr(output, "columns", lambda: width)
    shown = helping._columns(rows)
    monkeypatch.setattr(output, "columns", lambda: None)
    plain = helping._columns(rows)
    assert " ".join(" ".join(shown).split()) == " ".join(" ".join(plain).split())
    longest = max(len(left) + 2 for left, _ in rows)
    assert max(map(len, shown)) <= max(width, longest)
    assert len(plain) == len(rows)


def test_below_each_other_as_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "columns", lambda: 36)
    assert helping._columns([("a", "one two three four five six seven eight"), ("long", "x")]) == [
        "  a     one two three four five six",
        "        seven eight",
        "  long  x",
    ]
    monkeypatch.setattr(output, "columns", lambda: 30)
    assert helping._columns([("a", "one two three four five six seven"), ("longer", "x")]) == [
        "  a",
        "      one two three four five",
        "      six seven",
        "  longer",
        "      x",
    ]


def test_a_console_is_told_as_one() -> None:
    assert running._told(" ".join(running._SHELL)) == "(console)"
    assert running._told("sh -c true") == "sh -c true"
