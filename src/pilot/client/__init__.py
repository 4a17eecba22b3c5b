"""The `sprite` command."""
