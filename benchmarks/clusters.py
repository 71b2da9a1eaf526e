"""Jobs on a Slurm cluster beside a bare loop of ``sbatch``: makespan, rate of submits, one job, what a login node sees.

    python -m benchmarks.clusters [--quick] [--runs N] [--only PART]

PART is one of many, single, one. The Slurm has two nodes of 8 CPUs on this host, and its login node is an sshd of this
host. Both ways run the same commands, by turns.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import options
from benchmarks.clusters_site import Site, Times, open_site
from benchmarks.figures import Report, Spread, ratio
from tests.services import slurm, sshd

#: What a login node sees of it.
SEEN = ("logins", "most_at_once", "commands")


def many(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """Jobs of a second, as one array or several: makespan, and what the login node sees."""
    count = 20 if settings.quick else 1_000
    report.title(f"{count:,} jobs of one second on 16 CPUs")
    ours, bare = list[Times](), list[Times]()
    for number in range(settings.runs):
        bare.append(site.bare(count, "sleep 1"))
        ours.append(site.run(count, "sleep 1"))
        print(f"  {number + 1}/{settings.runs}: {bare[-1]}\n  {ours[-1]}", file=sys.stderr, flush=True)
    spans = {"sbatch, in a loop": _spans(bare), "wlmctl run": _spans(ours)}
    peer = spans["sbatch, in a loop"]
    report.table(
        ("", "makespan, s", "x the loop", "submitted after, s", "logins", "at once", "commands"),
        [
            ("sbatch, in a loop", peer.text("{:.1f}"), "1.00", _submitted(bare).text("{:.1f}"), "", "", ""),
            (
                "wlmctl run", spans["wlmctl run"].text("{:.1f}"), ratio(spans["wlmctl run"], peer).text(),
                _submitted(ours).text("{:.1f}"), *(_most(ours, name) for name in SEEN),
            ),
        ],
    )  # fmt: skip
    report.promise("makespan beside a bare sbatch loop", ratio(spans["wlmctl run"], peer).median, 1.1)
    report.promise("logins", _most(ours, "logins"), 5, unit="")
    report.promise("remote commands", _most(ours, "commands"), 150, unit="")


def single(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """Jobs that are all different, so that each is a submit of its own: held, recorded, released."""
    count = 20 if settings.quick else 1_000
    report.title(f"Submits of {count:,} jobs that are all different")
    ours, bare = Spread(), Spread()
    for _ in range(settings.runs):
        bare.values.append(count / site.bare(count, "true").submitted_s)
        ours.values.append(count / site.run(count, "true", ', resources: {walltime: "${n}m"}').submitted_s)
    rows = (("sbatch, in a loop", bare), ("wlmctl run", ours))
    report.table(
        ("", "submits/s", "x the loop"), [(name, rate.text("{:.0f}"), ratio(rate, bare).text()) for name, rate in rows]
    )
    report.promise("single submits a second", ours.median, 25, at_least=True, unit="/s")


def one(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """One job, from its assignment until its end is known, beside ``srun true``."""
    report.title("One job")
    ours, bare = Spread(), Spread()
    for _ in range(max(3, settings.runs)):
        bare.values.append(site.srun())
        ours.values.append(site.run(1, "true").ended_s)
    report.table(("", "s"), [("srun true", bare.text()), ("wlmctl run, from ready to its state known", ours.text())])
    more = Spread([us - it for us, it in zip(ours.values, bare.values, strict=True)])
    report.promise("one job, beyond srun true (one poll interval and 1 s)", more.median, 2.0, unit="s")


def _spans(found: list[Times]) -> Spread:
    return Spread([each.ended_s for each in found])


def _submitted(found: list[Times]) -> Spread:
    return Spread([each.submitted_s for each in found])


def _most(found: list[Times], name: str) -> int:
    return max(int(getattr(each.traffic, name)) for each in found)


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """All parts, on one cluster."""
    if not slurm.is_available() or not sshd.is_available():
        print("no Slurm here, or not root (Debian: slurm-wlm, munge): not measured")
        return
    with open_site(folder) as site:
        for part in (one, many, single):
            if settings.only in part.__name__:
                part(report, site, settings)


if __name__ == "__main__":
    raise SystemExit(options.run(measure, __doc__ or "", runs=2))
