"""The `sprite` command: thin over the public API, so it works against any server that speaks it."""
