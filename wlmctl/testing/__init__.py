"""Contract suites and fakes for whoever writes a plugin; they need no more than ``pip install wlmctl[testing]``.

Subclass the suite of your kind in your own tests and give it its fixtures:

- ``wlmctl.testing.transport.TransportContract``
- ``wlmctl.testing.scheduler.SchedulerContract``
- ``wlmctl.testing.task``: ``TaskTypeContract`` and ``FakeContext``
- ``wlmctl.testing.batch.BatchContract``
- ``wlmctl.testing.builders``: machines, snapshots and a clock made for tests
- ``wlmctl.testing.noop``: a task type that does nothing, as a plugin that is not installed until it is asked for
"""

from __future__ import annotations

import sys

if "pytest" in sys.modules:  # else nobody is testing, and the plugin of ``noop`` needs no pytest
    import pytest

    pytest.register_assert_rewrite(
        "wlmctl.testing.transport", "wlmctl.testing.scheduler", "wlmctl.testing.task", "wlmctl.testing.batch"
    )
