"""`pilot conformance`: every promise of the pilot API, asked of any machine that answers the dial contract.

    promises/     what is promised: rows and short conversations, in the order in which they are asked; a part of them
                  is derived from wire/operations.py, so that no operation can be without
    subject.py    the machine under test, as promises speak to it
    expect.py     an answer against the contract: the value, or how it falls short
    running.py    asks them one after the other; a machine that says nothing any more is not asked again
    report.py     results by group; junit.py the same as XML

The schema of bodies is that of the structs in wire/schema.py: the same that pilot's own clients decode with, and
checked against api/pilot.openapi.yaml by tests/checks. So the kit needs no YAML and no second validator on the host.

The machine is not trusted: whatever it sends, each promise ends by its deadline. It is used up: its world is stopped,
and at the end it is shut down, unless `--keep` is given.
"""
