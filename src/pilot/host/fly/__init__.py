"""Fly's Machines as values: what its API says (`config`), and what that is in containers of pilot (`containers`).

Pure: no store, no machine. A *Machine* (capital) is Fly's; a machine is what pilot runs in, of which each has one.
"""
