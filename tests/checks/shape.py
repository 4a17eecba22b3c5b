"""How long a class may be, and where `Any` may stand, as data."""

from __future__ import annotations

# Lines, with docstrings and comments.
MAX_CLASS_LINES = 400

# In these rooms facts are typed. `Any` may stand where a document of somebody else's is taken apart (parsing), where a
# table has rows of different types, and before a library without types; this often.
TYPED = ("volume", "host")
ANY: dict[str, int] = {
    "host.fsm.documents": 3,  # formats of requests and results of whatever type, in one table
    "host.fsm.operation": 1,  # the same
    "host.operations.requests": 2,  # of an older build, before it is what it is now
    "host.operations.fly_table": 1,  # rows of different types
    "host.operations.table": 1,  # the same
    "host.operations.table_rows": 1,  # the same
    "host.relay.table": 1,  # the same
    "host.store.database": 1,  # a column of a row
    "host.vmm.qemu.qmp": 6,  # what QEMU says
    "volume.disk.meta": 2,  # columns of rows
    "volume.facts": 4,  # fields of different types, in one table
    "volume.operator.cli": 1,  # argparse
    "volume.remote.objects.cloud": 5,  # obstore, which has no types
}
