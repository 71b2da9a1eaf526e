"""The commands of Markdown pages: read from the page, run in a folder, compared with the output shown.

Hidden comments say how, each before the block it is about (and, for ``test:``, for all after it):

- ``<!-- test: new -->`` begins a new empty folder; ``folder=PATH`` a copy of a folder of the checkout;
  ``machines=a,b`` SSH machines that ``~/.ssh/config`` knows by these names; ``postgres=NAME`` an empty database, whose
  URL is in the variable; ``rabbit=NAME`` a vhost of its own, likewise.
- ``<!-- file: NAME -->``: the next block is the content of this file.
- ``<!-- not run: REASON -->``: the next block is not run.

In a ``console`` block a line ``$ command`` is run, with the lines it goes on with after a backslash; one that ends in
``# exits N`` must end with N. The lines below it must appear in its output in this order; ``...`` stands for anything.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

_MARK = re.compile(r"<!-- (test|file|not run): (.*?) -->\s*\Z")
_FENCE = re.compile(r"```(\w*)\s*\Z")
_EXITS = re.compile(r"\s+# exits (\d+)\Z")
_END = "@@end of command"


@dataclass
class Command:
    """A command of a page with what is shown of its output."""

    line: int
    text: str
    exit_code: int = 0
    shown: list[str] = field(default_factory=list)


@dataclass
class Session:
    """What is run in one folder, in order: files to write, and commands."""

    settings: Mapping[str, str]
    steps: list[tuple[str, str] | Command] = field(default_factory=list)

    @property
    def commands(self) -> list[Command]:
        """The commands alone."""
        return [step for step in self.steps if isinstance(step, Command)]


class PageMistake(Exception):
    """A block of commands that does not say how it is run."""


def sessions(page: Path) -> list[Session]:
    """What a page runs."""
    found: list[Session] = []
    mark: tuple[str, str] | None = None
    for line, kind, content in _blocks(page):
        if kind == "mark":
            mark = (content[0], content[1])
            if mark[0] == "test":
                found.append(Session(dict(word.partition("=")[::2] for word in mark[1].split())))
                mark = None
            continue
        if mark is not None and mark[0] == "file":
            found[-1].steps.append((mark[1], "".join(f"{text}\n" for text in content)))
        elif kind == "console" and mark is None:
            if not found:
                raise PageMistake(f"{page}:{line}: commands without <!-- test: ... --> or <!-- not run: ... -->")
            found[-1].steps.extend(_commands(line, content))
        mark = None
    return [session for session in found if session.commands]


def _blocks(page: Path) -> Iterator[tuple[int, str, list[str]]]:
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        if mark := _MARK.match(line):
            yield number, "mark", [mark[1], mark[2]]
        elif fence := _FENCE.match(line):
            content: list[str] = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                content.append(inner)
            yield number, fence[1] or "text", content


def _commands(line: int, content: list[str]) -> Iterator[Command]:
    current: Command | None = None
    for number, text in enumerate(content, line + 1):
        if current is not None and current.text.endswith("\\"):
            current.text += f"\n{text}"
        elif text.startswith("$ "):
            if current is not None:
                yield current
            current = Command(number, text[2:])
        elif current is not None:
            current.shown.append(text)
    if current is not None:
        yield current


def run(session: Session, page: Path, folder: Path, env: Mapping[str, str]) -> None:
    """Run the session in ``folder`` by one bash; an AssertionError names the line of the page that is not true."""
    for command in session.commands:
        if found := _EXITS.search(command.text):
            command.exit_code, command.text = int(found[1]), command.text[: found.start()]
    script = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n" + "".join(map(_script, session.steps))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=220,
    )
    outputs = re.split(rf"^{_END} (\d+)\n", done.stdout, flags=re.MULTILINE)
    commands = session.commands
    for position, command in enumerate(commands):
        where = f"{page}:{command.line}: $ {command.text}\n"
        assert len(outputs) > 2 * position + 1, f"{where}was not reached\n{done.stdout}"
        output, code = outputs[2 * position], int(outputs[2 * position + 1])
        assert code == command.exit_code, f"{where}exit code {code}, expected {command.exit_code}\n{output}"
        _compare(where, command.shown, output)


def _script(step: tuple[str, str] | Command) -> str:
    if isinstance(step, Command):
        end = "" if step.text.rstrip().endswith("&") else "\n"
        return f"{step.text}{end}\ncode=$?; printf '\\n{_END} %d\\n' $code\n"
    name, content = step
    return f"cat > {name} <<'@@end of file'\n{content}@@end of file\n"


def _compare(where: str, shown: list[str], output: str) -> None:
    lines = iter(output.rstrip("\n").splitlines())
    for wanted in shown:
        if wanted == "...":
            continue
        pattern = re.sub(r"([*?\[])", r"[\1]", wanted.rstrip()).replace("...", "*")
        squeezed = " ".join(pattern.split())
        if not any(fnmatchcase(" ".join(line.split()), squeezed) for line in lines):
            raise AssertionError(
                f"{where}this shown line is not in its output (or not in this order): {wanted}\n{output}"
            )
