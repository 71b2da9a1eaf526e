"""A fleet to which everything happens, and what must hold in the end: ``python -m tests.chaos --help``.

``experiments`` draws what is run, ``faults`` what happens, ``site`` has the services of many rounds, ``fleet`` the
processes of one, ``rounds`` plays it and ``checks`` looks at what is left. All that is drawn comes from a round's seed.
"""
