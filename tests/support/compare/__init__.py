"""The same bundle under several OCI runtimes, compared observation by observation.

case.py       what a case is: a change of config.json, what to look at, and whom to believe
observers.py  what is looked at from outside: cgroup files, /proc, namespaces, hooks' files, state
life.py       one case under one runtime → {observation: value}
judge.py      observations of several runtimes → what differs and was not meant to
cases/        the cases, as data
__main__.py   `make compare`: all cases under all runtimes, stored beside the page
"""
