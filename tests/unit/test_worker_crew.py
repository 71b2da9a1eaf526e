"""The threads for polls, ends and probes: nothing is begun once they are closed."""

from __future__ import annotations

import threading

from wlmctl.worker.crew import Crew


def test_what_is_asked_for_after_the_end_is_not_begun() -> None:
    crew, begun = Crew("crew-of-a-test", 2), threading.Event()
    crew.do(begun.set)
    assert begun.wait(20)
    crew.close()
    late = threading.Event()
    crew.do(late.set)
    for thread in threading.enumerate():
        if thread.name == "crew-of-a-test":
            thread.join(20)
    assert not late.is_set()
    assert crew.is_idle
