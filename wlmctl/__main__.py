"""``python -m wlmctl`` is the command ``wlmctl``."""

from __future__ import annotations

from wlmctl.cli.main import main

if __name__ == "__main__":
    main()
