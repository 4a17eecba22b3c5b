"""A resident process that plans for command lines, so that none of them has to start an interpreter.

messages  the packets, as bytes                       caller   who asks: identity, and its process as a Waiter
verbs     which verbs are taken, and carried out      main     listening, a thread per request
build     the digest that both sides must have

The other side is native/front, which is `pilot`. docs/decisions/resident-planner.md draws the conversation.
Must never do what a process would inherit from it: the caller's process clones.
"""
