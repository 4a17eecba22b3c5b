"""The `sprite` command, and with `run` each other one of ours: words to a verb, its errors told once, its exit status.

0 done     1 it failed     2 the command line cannot be meant     130 interrupted     141 nobody reads our output
exec, console, attach: that of the command
"""

from __future__ import annotations

import os
import sys

from .. import errors
from . import http, output, verbs, words
from .context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# With it a fault of ours, or of a server that is none of ours, shows where it was.
_TRACE = "PILOT_TRACE"
FAILED, USAGE, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(verbs.SPRITE, sys.argv[1:] if arguments is None else arguments)


def run(program: words.Program, arguments: Sequence[str]) -> int:
    """The exit status."""
    output.begin()
    try:
        code = _run(program, arguments)
        sys.stdout.flush()
        return code
    except words.UsageError as error:
        _tell(program, error)
        return USAGE
    except errors.PilotError as error:
        _tell(program, error)
        return FAILED
    except KeyboardInterrupt:
        output.end_line()
        return INTERRUPTED
    except BrokenPipeError:
        # Python would flush once more at its end, and say that it could not.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except OSError as error:
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _tell(program, errors.HostError(f"{name}{(error.strerror or str(error)).lower()}"))
        return FAILED
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if os.environ.get(_TRACE):
            raise
        _tell(program, _unexpected(error))
        return FAILED


def _unexpected(error: Exception) -> errors.PilotError:
    """Of who has not answered it is no fault."""
    what, hint = f"{type(error).__name__}: {error}", f"{_TRACE}=1 shows where"
    if http.Answer.has_come:
        return errors.PeerError(f"the answer is none that was meant: {what}", hint=hint)
    return errors.PilotError(f"unexpected: {what}", hint=hint)


def _run(program: words.Program, arguments: Sequence[str]) -> int:
    said = program.parse(arguments)
    if said.verb is None or said.has("help") or said.has("version"):
        from . import helping

        return helping.show(said, program)
    return _function(f"{program.room}{said.verb.call}")(Context(said)) or 0


def _function(call: str) -> Callable[[Context], int | None]:
    """Imported when it is meant: each verb pays for itself alone."""
    module, _, name = call.rpartition(".")
    __import__(f"{__package__}.{module}")
    found: Callable[[Context], int | None] = getattr(sys.modules[f"{__package__}.{module}"], name)
    return found


def _tell(program: words.Program, error: errors.PilotError) -> None:
    hint = f" ({error.hint})" if error.hint else ""
    output.tell(f"{program.name}: {error}{hint}")


if __name__ == "__main__":
    sys.exit(main())
