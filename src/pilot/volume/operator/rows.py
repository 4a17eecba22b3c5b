"""What a verb of `pilot volume` tells: lines of a table for people, or objects of JSON. Column → value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Row = Mapping[str, object]
Rows = Sequence[Row]
