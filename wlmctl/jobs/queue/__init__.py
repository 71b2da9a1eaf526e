"""What batch systems with a queue share: submitting held, listing, judging by folder and queue, cancelling.

A system's own ``queue.sh`` says how its commands are called. It defines ``away`` (an extended regular expression for
what its commands say when the queue cannot be reached), ``absent`` (``ABSENT`` where ends are listed for a while, so
that a job that is not listed was forgotten, ``ENDED`` where ends need not be listed) and these functions:

- ``queue_list`` prints ``number|STATE|name|node or -|comment|reason`` for each of the login's jobs, in Slurm's words
  for states and for a hold (``PENDING``, ``JobHeldUser``); false when that is not all of them. ``LAUNCH_FAILED`` is a
  job that got a node, could not be started there and is held for it.
- ``queue_submit FILE WORDS`` submits held and prints the number; variables: ``name``, ``folder``.
- ``queue_release NUMBERS``, ``queue_remove NUMBERS``.
- ``queue_told NUMBER NAME`` sets ``state`` and ``reason`` of a job that is not listed any more, from what the system
  keeps; it leaves ``state`` alone where it keeps nothing.
- ``queue_booted`` prints when the server was started (seconds since 1970), nothing where a restart forgets nothing.
"""
