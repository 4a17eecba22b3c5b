"""Where some text is in a machine: in all that its root can read."""

from __future__ import annotations

# One that is there, and not what libraries look for.
PRIVATE_KEY = "BEGIN PRIVATE KEY-----\nMI"
# Where in all that root can read some text is: environments, command lines and memory of all processes but this one,
# and every file. Texts come backwards, so that this program's own arguments are no find.
_PROGRAM = """\
import os, sys, time
sys.stderr = sys.stdout
texts = [text[::-1].encode() for text in sys.argv[1:]]

def told(place, data):
    for text in texts:
        if text in data:
            print(place, text.decode()[::-1].replace("\\n", "|"), flush=True)

def memory(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            first, _, last = line.split()[0].partition("-")
            if line.split()[1].startswith("r") and "[v" not in line:
                mem.seek(int(first, 16))
                yield mem.read(int(last, 16) - int(first, 16))

def ends(pid):
    # One that ends has no memory any more, a moment before it is gone.
    for _ in range(100):
        try:
            if not open(f"/proc/{pid}/cmdline").read():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False

looked = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) == os.getpid():
        continue
    try:
        for name in ("environ", "cmdline"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                told(f"{pid} {name}", file.read())
        for piece in memory(pid):
            told(f"{pid} memory", piece)
            looked += len(piece)
    except (FileNotFoundError, ProcessLookupError):
        continue  # it has ended, as commands of before do
    except PermissionError:
        if not ends(pid):
            raise
for directory, names, files in os.walk("/"):
    kernels = ("/proc", "/sys", "/dev", "/.sprite/kernel")
    names[:] = [name for name in names if os.path.join(directory, name) not in kernels]
    for path in (os.path.join(directory, name) for name in files):
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                told(path, file.read())
            looked += 1
print("looked at", looked)
"""


def found(said: str, known: str) -> list[str]:
    """Its lines, but for those about `known`, which was looked for as well and is there: so something was seen."""
    *lines, last = said.splitlines()
    assert last.startswith("looked at "), said[-2000:]
    seen = f" {known[::-1]}"
    assert any(line.endswith(seen) for line in lines), f"{known} is nowhere"
    return [line for line in lines if not line.endswith(seen)]


def command(*texts: str) -> list[str]:
    """A program for a machine's root: a line for each place that has one of these, and at last how much it has seen."""
    return ["python3", "-c", _PROGRAM, *(text[::-1] for text in texts)]
