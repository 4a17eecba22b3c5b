"""Fly's Machines API, as its clients ask for it: `docs/reference/machines.md`."""
