"""Where the program starts: ``python -m wlmctl`` and the console script."""

from __future__ import annotations

import os


def main() -> None:
    """The command ``wlmctl``; Ctrl-C while its modules are still being imported is no traceback either."""
    try:
        from wlmctl.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        os.write(2, b"wlmctl: interrupted\n")
        os._exit(130)


if __name__ == "__main__":
    main()
