"""The command line: ``python -m tests.chaos --seed 1 --rounds 10 --kinds worker,broker``."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from pathlib import Path

from tests.chaos import faults
from tests.chaos.rounds import Outcome, Round, Settings
from tests.chaos.site import open_site


def main() -> int:
    """Plays rounds until one goes wrong; 1 when one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Lets everything happen to a fleet.")
    parser.add_argument("--seed", type=int, help="of the first round; each next one has the next number")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--kinds", default=",".join(faults.KINDS), help="of what is hit (default: %(default)s)")
    parser.add_argument("--faults", type=int, default=5, help="in a round (default: %(default)s)")
    parser.add_argument("--within", type=float, default=12.0, help="seconds in which they begin (default: %(default)s)")
    parser.add_argument("--size", type=float, default=1.0, help="1.0: 300 tasks (default)")
    parser.add_argument("--pace", type=float, default=1.0, help="how long tasks sleep, 1.0: some seconds (default)")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="", help="default: drawn")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--orchestrators", type=int, default=2)
    parser.add_argument("--no-broker", action="store_true", help="one orchestrator with slots of its own")
    parser.add_argument("--go-on", action="store_true", help="also after a round that went wrong")
    parser.add_argument("--folder", type=Path, help="work below this folder; what went wrong stays there")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    if unknown := set(kinds) - set(faults.KINDS):
        parser.error(f"no such kind: {', '.join(unknown)}; there are {', '.join(faults.KINDS)}")
    if options.no_broker:
        kinds = [kind for kind in kinds if kind in ("orchestrator", "store", "sshd")]
    settings = Settings(
        kinds, options.faults, options.within, options.size, options.store, options.workers, options.orchestrators,
        options.pace,
    )  # fmt: skip
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    wrong: list[Outcome] = []
    with open_site(options.folder, broker=not options.no_broker) as site:
        for number in range(options.rounds):
            outcome = Round(site, seed + number, settings, say=_say).play()
            _say(outcome.text())
            if outcome.wrong:
                wrong.append(outcome)
                _keep(outcome, options.folder)
                if not options.go_on:
                    break
            else:
                shutil.rmtree(outcome.folder)
    if wrong:
        _say(f"went wrong: --seed {', '.join(str(outcome.seed) for outcome in wrong)}")
    return 1 if wrong else 0


def _keep(outcome: Outcome, folder: Path | None) -> None:
    kept = (folder or Path("/var/tmp")) / f"chaos-{outcome.folder.name}-{os.getpid()}"
    shutil.copytree(outcome.folder, kept, symlinks=True, ignore=shutil.ignore_patterns("scratch"))
    _say(f"kept: {kept}")


def _say(text: str) -> None:
    print(f"{time.strftime('%T')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
