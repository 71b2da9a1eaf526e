"""A CSV file whose first row names the columns: for ``foreach: {csv: FILE}`` and ``--params-file``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NoReturn

from wlmctl.errors import InvalidFile, Mistake
from wlmctl.experiment.mistakes import quoted
from wlmctl.experiment.names import NAME_FORM, is_name
from wlmctl.experiment.source import decode, read_regular_file
from wlmctl.experiment.values import why_unusable

MAX_CSV_BYTES = 64 << 20


def read_csv(path: str | Path, shown_as: str, most_values: int) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The names of the columns, and the rows with the characters of each cell; ``InvalidFile`` with one mistake."""
    text = decode(read_regular_file(str(path), shown_as, MAX_CSV_BYTES), shown_as)
    if (bad := why_unusable(text)) is not None:
        _fail(shown_as, None, bad, "text without it")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[str, ...]] = []
    header: tuple[str, ...] = ()
    try:
        for cells in reader:
            if not cells:
                continue
            if not header:
                header = tuple(cells)
                _check_header(header, shown_as, reader.line_num)
                continue
            if len(cells) != len(header):
                _fail(shown_as, reader.line_num, f"{len(cells)} cells", f"{len(header)}, as in the first row")
            rows.append(tuple(cells))
            if len(rows) * len(header) > most_values:
                _fail(shown_as, reader.line_num, f"more than {most_values:,} values", f"at most {most_values:,}")
    except csv.Error as error:
        _fail(shown_as, reader.line_num, f"is no CSV: {error}", "")
    if not rows:
        _fail(shown_as, None, "no rows", "a first row with the names of the columns, and at least one row of values")
    return header, rows


def read_params_file(path: str) -> list[dict[str, str]]:
    """The rows of ``--params-file``, each with the values of the params of one experiment."""
    header, rows = read_csv(path, path, 10**6)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _check_header(header: tuple[str, ...], shown_as: str, line: int) -> None:
    for position, name in enumerate(header):
        if not is_name(name):
            _fail(shown_as, line, f"the column {quoted(name)}", NAME_FORM)
        if name in header[:position]:
            _fail(shown_as, line, f"the column {quoted(name)} twice", "each column once")


def _fail(shown_as: str, line: int | None, found: str, expected: str) -> NoReturn:
    raise InvalidFile([Mistake(shown_as, line, "", found, expected)])
