"""What was asked of each sprite and Machine, by whom, and what was decided: a log for each, in which no change goes
unseen (`wire/chain.py` has its form).

    relay, outward, resolver ─ Record ─► writer (a queue, a thread) ─► journal (files) ─► shipping (object store)
                                                                          └─► reading (GET …/audit)
"""
