"""The login nodes of a cluster: which of them is used, and what it means when none of them can be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from wlmctl.errors import LoginRefused, Unreachable, UntrustedHost
from wlmctl.machine import Machine

log = logging.getLogger(__name__)

T = TypeVar("T")


class LoginNodes:
    """Remembers for each machine which of its login nodes served last."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}

    def through(self, machine: Machine, use: Callable[[Machine], T]) -> T:
        """What ``use`` gives of the node that served last or, where that is ``Unreachable``, of the next that serves.

        ``use`` gets the machine as if it had that node alone.
        """
        nodes, away = machine.nodes, list[Unreachable]()
        first = self._served.get(machine.name, 0)
        for number in range(first, first + len(nodes)):
            node = nodes[number % len(nodes)]
            try:
                found = use(node)
            except Unreachable as error:
                away.append(error)
            else:
                self._served[machine.name] = number % len(nodes)
                if away:
                    log.warning("%s; login node %s serves instead", "; ".join(map(str, away)), node.host)
                return found
        raise _of_all(away)


def _of_all(away: Sequence[Unreachable]) -> Unreachable:
    """What keeps us from a machine when none of its login nodes can be used."""
    if len(away) == 1:
        return away[0]
    kinds = (UntrustedHost, LoginRefused)
    kind = next((kind for kind in kinds if all(isinstance(each, kind) for each in away)), Unreachable)
    return kind("; ".join(map(str, away)))
