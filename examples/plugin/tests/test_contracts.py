"""The shipped contract suites, run against this distribution's plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from wlmctl_example.count import Count, CountSpec
from wlmctl_example.folder import FolderTransport
from wlmctl_example.newest import Newest

from wlmctl.scheduler import SchedulerFactory
from wlmctl.task import Done, TaskType
from wlmctl.testing.builders import make_machine
from wlmctl.testing.scheduler import SchedulerContract
from wlmctl.testing.task import FakeContext, TaskTypeContract
from wlmctl.testing.transport import TransportContract
from wlmctl.transport import Transport


class TestNewest(SchedulerContract):
    @pytest.fixture
    def factory(self) -> SchedulerFactory:
        return Newest


class TestFolder(TransportContract):
    @pytest.fixture
    def transport(self, tmp_path: Path) -> Iterator[Transport]:
        with FolderTransport(make_machine(), {"root": str(tmp_path)}) as transport:
            yield transport

    @pytest.fixture
    def folder(self, transport: Transport) -> str:
        transport.makedirs("/folder")
        return "/folder"


class TestCount(TaskTypeContract):
    @pytest.fixture
    def task_type(self) -> TaskType:
        return Count()

    @pytest.fixture
    def mapping(self) -> Mapping[str, Any]:
        return {"file": "poem.txt", "machine": "share", "outputs": {"verses": "lines"}}

    @pytest.fixture
    def context(self, tmp_path: Path) -> FakeContext:
        context = FakeContext(tmp_path)
        folder = Path(context.folder("share"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "poem.txt").write_text("one\ntwo\nthree\n")
        return context

    def test_the_outputs_are_what_was_asked_for(self, context: FakeContext) -> None:
        spec = CountSpec("poem.txt", "share", {"verses": "lines", "size": "bytes"})
        assert Count().execute(spec, context) == Done(outputs={"verses": "3", "size": "14"})
