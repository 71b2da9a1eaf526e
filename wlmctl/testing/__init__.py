"""Contract suites and fakes for whoever writes a plugin; they need no more than ``pip install wlmctl[testing]``.

Subclass the suite of your kind in your own tests and give it its fixtures:

- ``wlmctl.testing.transport.TransportContract``
- ``wlmctl.testing.scheduler.SchedulerContract``
- ``wlmctl.testing.task``: ``TaskTypeContract`` and ``FakeContext``
- ``wlmctl.testing.batch.BatchContract``
- ``wlmctl.testing.builders``: machines, snapshots and a clock made for tests
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "wlmctl.testing.transport", "wlmctl.testing.scheduler", "wlmctl.testing.task", "wlmctl.testing.batch"
)
