"""The reference of plugins says what the code says."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

from wlmctl.plugins.loading import HOOKS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "plugins.md").read_text()


def signatures(source: str) -> list[str]:
    return [
        f"def {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns) if node.returns else None}: ..."
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    ]


def test_the_hooks_in_the_reference_are_those_of_the_code_word_for_word() -> None:
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", REFERENCE, re.DOTALL) if "wlmctl_" in block]
    assert block.splitlines() == signatures((ROOT / "wlmctl" / "hookspecs.py").read_text())


def test_each_kind_has_its_hook_in_the_reference() -> None:
    assert dict(re.findall(r"^\| `(\w+)` \| `(wlmctl_\w+)` \|", REFERENCE, re.MULTILINE)) == dict(HOOKS)


def test_each_suite_in_the_reference_exists() -> None:
    suites = re.findall(r"`(wlmctl\.testing\.\w+)\.(\w+)`", REFERENCE)
    assert len(suites) == 4
    for module, name in suites:
        assert hasattr(importlib.import_module(module), name)


def test_the_how_to_uses_the_example_as_it_is() -> None:
    text = (ROOT / "docs" / "how-to" / "write-a-plugin.md").read_text()
    example = ROOT / "examples" / "plugin"
    (hook,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "hookimpl" in block]
    code = (example / "wlmctl_example" / "__init__.py").read_text()
    ours = [line for line in hook.splitlines() if line and not line.startswith("from collections")]
    assert [line for line in ours if line not in code] == []
