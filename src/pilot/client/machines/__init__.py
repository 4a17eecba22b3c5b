"""`pilot machine`: Machines of a pilotd, by its Machines API.

Verbs of `sprite` in all but their table: the same reader of words, printing and connections, and as few imports
(docs/decisions/client-without-libraries.md).
"""
