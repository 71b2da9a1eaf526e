"""``wlmctl doctor``: checks this installation, and shows every setting with its origin."""

from __future__ import annotations

from typing import Any

import click

from wlmctl.cli.common import configuration, output_option, table, write, write_json
from wlmctl.errors import ExitCode

_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@click.command()
@click.option("--config", "show_config", is_flag=True, help="Print every setting and where it came from.")
@click.option("--machines", "test_machines", is_flag=True, help="Also connect to each machine and test it.")
@output_option
@click.pass_context
def doctor(ctx: click.Context, show_config: bool, test_machines: bool, output: str) -> int:
    """Check this installation and its settings.

    Looks at Python, libraries, plugins, who may read files with secrets, the store, the broker, the workers, the SSH
    agent, known_hosts, the machines' settings and the clock; connects to machines only with --machines. Ends with 1
    when there is a problem.
    """
    config = configuration(ctx)
    if show_config:
        rows = [
            {"key": key, "value": setting.value, "origin": setting.origin} for key, setting in config.origins.items()
        ]
        if output == "json":
            write_json({"settings": rows})
        else:
            table(["KEY", "VALUE", "FROM"], [(row["key"], _shown(row["value"]), row["origin"]) for row in rows])
        return ExitCode.DONE

    from wlmctl.runtime.doctor import examine
    from wlmctl.runtime.doctor_check import Check

    checks = examine(config)
    if test_machines:
        from wlmctl.runtime.doctor import examine_machines

        checks += examine_machines(config)
    problems = sum(check.level == "problem" for check in checks)
    if output == "json":
        names = Check.__slots__
        write_json({"checks": [{name: getattr(check, name) for name in names} for check in checks]})
    else:
        for check in checks:
            advice = f"\n{'':24}do: {check.advice}" if check.advice else ""
            write(f"{_MARKS[check.level]:8}{check.name:16}{check.text}{advice}\n")
        write(f"{problems} problems\n" if problems != 1 else "1 problem\n")
    return ExitCode.FAILED if problems else ExitCode.DONE


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {item}" for key, item in value.items()) + "}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
