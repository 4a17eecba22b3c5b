"""Durable operations: named, idempotent transitions, journalled, resumed after a crash. Knows nothing of machines.

    Engine.start(kind, action, resource, request) ──► run ──► transition, transition, … ──► outcome ──► settle ──► end
                                                     (each completed one is in the journal and is never run again)

* Transitions run at least once: a crash between effect and journal entry repeats them, so each must be idempotent.
* The error's type decides: anything is retried with growing pauses (for ever, unless the transition bounds its
  attempts); `Abort`, `UserFault` and `Handoff` end the run. `settle` runs after every outcome, so that it can undo.
* One run per (kind, resource, action) is active; the runs of one (kind, resource) run one after another, oldest first.
* So many runs of a kind go on at once, the others wait their turn; one that pauses lets others by.
* A transition may begin runs of its own (`Engine.child`): a parent goes on when its child has ended, one that a crash
  has interrupted is found and not begun twice, and cancelling a parent cancels its children.
* A caller's deadline bounds its waiting, never the run.
"""
