"""The command line: ``python -m tests.chaos.cluster --jobs 1000 --seed 1``."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.cluster.faults import draw
from tests.chaos.cluster.play import Play, Site
from tests.services.rabbitmq_node import open_node
from tests.services.slurm import open_slurm
from tests.services.sshd import open_farm


def main() -> int:
    """Plays jobs a part at a time; 1 when one went wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.cluster", description="Kills everything around jobs of a Slurm, at each point."
    )
    parser.add_argument("--seed", type=int, help="what is drawn comes from it (default: at random)")
    parser.add_argument("--jobs", type=int, default=200, help="each with a fault (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=100, help="jobs in one experiment (default: %(default)s)")
    parser.add_argument("--only", default="", help="faults whose text contains this")
    parser.add_argument("--folder", type=Path, help="work below this folder; what went wrong stays there")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    faults = draw(random.Random(seed), options.jobs, options.only)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # all that was started ends also when `timeout` ends it
    begin_s, wrong, struck = time.monotonic(), 0, 0
    folder = Path(tempfile.mkdtemp(prefix="wlm-cluster-", dir=options.folder))
    print(f"seed {seed}, {len(faults)} jobs, in {folder}", flush=True)
    with ExitStack() as stack:
        slurm = stack.enter_context(open_slurm(folder / "slurm", cpus=64))
        farm = stack.enter_context(open_farm(folder / "login", names=["cluster"]))
        slurm.greet(farm["cluster"])
        rabbit = stack.enter_context(open_node(folder / "rabbitmq"))
        for first in range(0, len(faults), options.at_once):
            site = Site(folder, slurm, farm, rabbit.vhost().url)
            outcome = Play(site, faults[first : first + options.at_once]).play()
            print(f"{time.strftime('%T')} from {first + 1}: {outcome.text()}", flush=True)
            wrong += len(outcome.wrong)
            struck += outcome.jobs - len(outcome.not_reached)
    print(f"seed {seed}: {len(faults)} jobs, {struck} faults struck, {wrong} wrong, {time.monotonic() - begin_s:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
