"""The command line: ``python -m tests.chaos.cluster --jobs 1000 --seed 1``."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.cluster.faults import Fault, draw
from tests.chaos.cluster.play import Outcome, Play, Site
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
    parser.add_argument("--folder", type=Path, help="work below this folder; it stays when something is wrong")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    faults = draw(random.Random(seed), options.jobs, options.only)
    if not faults:
        parser.error(f"no fault contains {options.only!r}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # all that was started ends also when `timeout` ends it
    folder = Path(tempfile.mkdtemp(prefix="wlm-cluster-", dir=options.folder))
    print(f"seed {seed}, {len(faults)} jobs, in {folder}", flush=True)
    begin_s, outcomes = time.monotonic(), list[Outcome]()
    with ExitStack() as stack:
        slurm = stack.enter_context(open_slurm(folder / "slurm", cpus=64))
        farm = stack.enter_context(open_farm(folder / "login", names=["cluster"]))
        slurm.greet(farm["cluster"])
        rabbit = stack.enter_context(open_node(folder / "rabbitmq"))
        again = list[Fault]()
        for given in (faults, again):  # a fault whose point its job did not come to is given to another job, once
            for first in range(0, len(given), options.at_once):
                site = Site(folder, slurm, farm, rabbit.vhost().url)
                outcome = Play(site, given[first : first + options.at_once]).play()
                print(f"{time.strftime('%T')} from {first + 1}: {outcome.text()}", flush=True)
                outcomes.append(outcome)
                if given is faults:
                    again += outcome.not_reached
    jobs, wrong = (sum(counts) for counts in zip(*((each.jobs, len(each.wrong)) for each in outcomes), strict=True))
    struck = jobs - sum(len(each.not_reached) for each in outcomes)
    print(f"seed {seed}: {jobs} jobs, {struck} faults struck, {wrong} wrong, {time.monotonic() - begin_s:.0f} s")
    if not wrong:
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
