"""Where the program starts, and ends: ``python -m wlmctl`` and the console script."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

#: New objects between two looks for garbage. Python's own 700 means a hundred looks while modules are imported.
GARBAGE_AFTER = 50_000


def main() -> NoReturn:
    """The command ``wlmctl``; Ctrl-C while its modules are still being imported is no traceback either."""
    gc.set_threshold(GARBAGE_AFTER)
    try:
        if sys.getfilesystemencoding() != "utf-8":  # files, names and commands are UTF-8, whatever the locale is
            os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
        from wlmctl.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        os.write(2, b"wlmctl: interrupted\n")
        os._exit(130)
    except SystemExit as ending:
        if isinstance(ending.code, int):
            end_now(ending.code)
        raise


def end_now(code: int) -> None:
    """End the process without taking the interpreter apart, which would be a tenth of a short command.

    What was registered for the end is called first; while a thread is left that must be waited for, this returns.
    """
    import atexit
    import threading

    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # told already: nothing is left that could be done about it
            code = code or 4
    os._exit(code)


if __name__ == "__main__":
    main()
