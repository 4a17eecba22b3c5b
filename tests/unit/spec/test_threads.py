"""Documents are read by several threads at once, in a process that has never read one: an agent starts containers so.

msgspec 0.22 builds what it knows of a struct when it is first used; a second thread that meets it half-built crashes.
"""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
from pilot.runtime import store
from pilot.spec import parse
sys.setswitchinterval(1e-6)
CONFIG = b'{"ociVersion": "1.2.0", "root": {"path": "/x"}, "process": {"args": ["x"], "cwd": "/"},' \\
    b'"linux": {"resources": {"pids": {"limit": 5}, "memory": {"limit": 5}}, "namespaces": [{"type": "pid"}]}}'
PROCESS = b'{"args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0}}'
RECORD = b'{"id": "x", "bundle": "/x", "created": "", "owner": "", "cgroup": {}}'
WORK = [lambda: parse.parse_spec(CONFIG), lambda: parse.parse_process(PROCESS),
        lambda: parse.parse_resources(b'{"pids": {"limit": 5}}'), lambda: store.parse_record(RECORD)]
together = threading.Barrier(8)
def run(work):
    together.wait()
    work()
threads = [threading.Thread(target=run, args=(WORK[number % 4],)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_documents_of_a_process_may_come_at_once() -> None:
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
