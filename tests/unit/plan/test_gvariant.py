"""GVariant's text form, against what GLib's manual says of it."""

from __future__ import annotations

import pytest

from pilot.plan import gvariant
from pilot.plan.gvariant import Value


@pytest.mark.parametrize(
    ("text", "signature", "value"),
    [
        ("true", "b", True),
        ("42", "i", 42),
        (" -7 ", "i", -7),
        ("0x1F", "i", 31),
        ("1.5", "d", 1.5),
        ("1e3", "d", 1000.0),
        ("uint64 18446744073709551615", "t", 2**64 - 1),
        ("@t 5", "t", 5),
        ("byte 0xff", "y", 255),
        ("int16 -1", "n", -1),
        ("double 3", "d", 3.0),
        ("'text'", "s", "text"),
        ('"it\'s"', "s", "it's"),
        (r"'it\'s \\ \n \u00fc'", "s", "it's \\ \n ü"),
        ("string ''", "s", ""),
        ("['a', 'b']", "as", ("a", "b")),
        ("[uint32 1, 2,3]", "au", (1, 2, 3)),
        ("@as []", "as", ()),
        ("@at [1]", "at", (1,)),
        ("[ true , false ]", "ab", (True, False)),
    ],
)
def test_values(text: str, signature: str, value: Value) -> None:
    found = gvariant.parse(text)
    assert (found.signature, found.value, type(found.value)) == (signature, value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "nonesuch", "'open", "5 6", "[1", "[1 2]", "[]", "[[1]]", "[1, 'a']", "uint32 -1", "byte 256",
        "uint64 1.5", "string 5", "boolean 1", "@s true", "@as 5", "uint32 ['a']", "{'a': 1}", "(1, 2)", "2147483648",
        "@zz 1", "[1],", "[" * 5000, "uint32 " * 5000, "9" * 5000, "[1,,2]", "[,1]", "uint64 99999999999999999999",
    ],
)  # fmt: skip
def test_what_is_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        gvariant.parse(text)
