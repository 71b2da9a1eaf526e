"""What the batch systems share: the private folder of a job, the texts that run it, and how its end is read.

A job's folder holds ``fence`` (which execution has it), ``exit`` (how it ended), ``stdout``, ``stderr`` and, once it is
to be cancelled, ``cancel``. The shell texts here make and read these; a batch system adds its own between them.
"""
