"""Jobs on a real Slurm, each with a fault of its own at a numbered point: ``python -m tests.chaos.cluster --help``.

``points`` finds the points in the code, ``faults`` draws who is killed at which, ``inside`` kills there, in the
processes of the fleet and in the remote texts, ``play`` runs the jobs through a fleet, and ``checks`` looks at what is
left.
"""
