"""The task type ``stage`` keeps the contract of task types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wlmctl.errors import SpecError
from wlmctl.plugins import task_type as installed_task_type
from wlmctl.task import TaskType
from wlmctl.testing.task import FakeContext, TaskTypeContract


class TestStage(TaskTypeContract):
    text_keys = ("from", "to", "exclude")

    @pytest.fixture
    def task_type(self) -> TaskType:
        return installed_task_type("stage")

    @pytest.fixture
    def mapping(self) -> dict[str, Any]:
        return {
            "from": ["nas:data/*.csv", "local:notes/"],
            "to": "compute:work/",
            "exclude": ["*.tmp"],
            "symlinks": "keep",
            "verify": "sha256",
            "cache": True,
        }

    @pytest.fixture
    def context(self, tmp_path: Path) -> FakeContext:
        context = FakeContext(tmp_path)
        data = Path(context.folder("nas"), "data")
        data.mkdir()
        (data / "a.csv").write_text("1\n")
        (data / "b.tmp").write_text("2\n")
        Path(context.folder("local"), "notes").mkdir()
        Path(context.folder("local"), "notes", "read me").write_text("3\n")
        return context

    @pytest.mark.parametrize(
        ("change", "key"),
        [
            ({"to": "work/"}, "to"),
            ({"to": "compute:work"}, "to"),
            ({"to": "compute:../up/"}, "to"),
            ({"to": "compute:w*/"}, "to"),
            ({"from": []}, "from"),
            ({"from": "data.csv"}, "from"),
            ({"from": "nas:../../etc/passwd"}, "from"),
            ({"from": "nas:a\0b"}, "from[0]"),
            ({"symlinks": "maybe"}, "symlinks"),
            ({"verify": "md5"}, "verify"),
            ({"verify": "size"}, "cache"),
            ({"cache": "yes"}, "cache"),
            ({"exclude": [""]}, "exclude[0]"),
            ({"exclude": [3]}, "exclude[0]"),
            ({"form": "x"}, "form"),
        ],
    )
    def test_a_mistake_is_named_by_its_key(
        self, task_type: TaskType, mapping: dict[str, Any], tmp_path: Path, change: dict[str, Any], key: str
    ) -> None:
        with pytest.raises(SpecError) as raised:
            task_type.parse(mapping | change, tmp_path)
        assert raised.value.key == key
        assert raised.value.expected or raised.value.key == "from[0]"

    @pytest.mark.parametrize("key", ["from", "to"])
    def test_a_missing_key_is_named(
        self, task_type: TaskType, mapping: dict[str, Any], tmp_path: Path, key: str
    ) -> None:
        del mapping[key]
        with pytest.raises(SpecError, match=f"{key}: is missing"):
            task_type.parse(mapping, tmp_path)

    def test_it_copies_and_tells_how_far_it_is(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        done = task_type.execute(task_type.parse(mapping, tmp_path), context)
        work = Path(context.folder("compute"), "work")
        assert sorted(path.name for path in work.iterdir()) == ["a.csv", "read me"]
        assert context.figures[-1]["files_done"] == context.figures[-1]["files_total"] == 2
        assert done.stdout.startswith(b"2 files, 4 bytes")  # type: ignore[union-attr]
