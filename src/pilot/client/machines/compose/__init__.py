"""Compose files as Machines of several containers (docs/reference/machines-command.md has what becomes of each key).

    text ─► document (values with their places, variables put in) ─► services, volumes, secrets ─► a Plan, of values

Read as the Compose Specification has it. What a Machine has no counterpart for is refused with its place in the file,
never left out, but for what would not be missed (`keys`).
"""
