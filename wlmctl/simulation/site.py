"""The simulated nodes: what is free on each, and whether a shape fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wlmctl.simulation.workload import Node, Shape

#: What a node without a limit of its own has of memory.
_PLENTY = 2**62


class Site:
    """What is left of each node, by its position."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.whole_memory = [_PLENTY if node.memory_bytes is None else node.memory_bytes for node in nodes]
        self.free_cpus = [node.cpus for node in nodes]
        self.free_memory = list(self.whole_memory)
        self.free_gpus = [node.gpus for node in nodes]
        self._parts = [
            (1 / max(1, node.cpus), 1 / node.memory_bytes if node.memory_bytes else 0.0, 1 / max(1, node.gpus))
            for node in nodes
        ]

    def has_room(self, shape: Shape, place: int) -> bool:
        """Whether one more of the shape fits on the node (a part of it, where it takes several nodes)."""
        return (
            self.free_cpus[place] >= shape.cpus
            and self.free_memory[place] >= shape.memory_bytes
            and self.free_gpus[place] >= shape.gpus
        )

    def fitting(self, shape: Shape) -> list[int]:
        """The permitted nodes that have room now."""
        cpus, memory, gpus = shape.cpus, shape.memory_bytes, shape.gpus
        free_cpus, free_memory, free_gpus = self.free_cpus, self.free_memory, self.free_gpus
        return [
            place
            for place in shape.permitted
            if free_cpus[place] >= cpus and free_memory[place] >= memory and free_gpus[place] >= gpus
        ]

    def fits(self, shape: Shape) -> bool:
        """Whether one more of the shape could start now."""
        if shape.nodes > 1:
            return len(self.fitting(shape)) >= shape.nodes
        cpus, memory, gpus = shape.cpus, shape.memory_bytes, shape.gpus
        free_cpus, free_memory, free_gpus = self.free_cpus, self.free_memory, self.free_gpus
        return any(
            free_cpus[place] >= cpus and free_memory[place] >= memory and free_gpus[place] >= gpus
            for place in shape.permitted
        )

    def best_fit(self, shape: Shape, admits: Callable[[int], bool] | None = None) -> tuple[int, ...] | None:
        """The admitted nodes with the least left over; None where the shape does not fit.

        What is left over is the sum, over cpus, memory and gpus, of the parts of the node that stay free.
        """
        fitting = self.fitting(shape)
        if admits is not None:
            fitting = [place for place in fitting if admits(place)]
        if len(fitting) < shape.nodes:
            return None
        ranked = sorted((self._left_over(shape, place), place) for place in fitting)
        return tuple(place for _, place in ranked[: shape.nodes])

    def _left_over(self, shape: Shape, place: int) -> float:
        per_cpu, per_byte, per_gpu = self._parts[place]
        return (
            (self.free_cpus[place] - shape.cpus) * per_cpu
            + (self.free_memory[place] - shape.memory_bytes) * per_byte
            + (self.free_gpus[place] - shape.gpus) * per_gpu
        )

    def take(self, shape: Shape, places: Iterable[int]) -> None:
        """A job of the shape starts on these nodes."""
        for place in places:
            self.free_cpus[place] -= shape.cpus
            self.free_memory[place] -= shape.memory_bytes
            self.free_gpus[place] -= shape.gpus

    def give_back(self, shape: Shape, places: Iterable[int]) -> None:
        """A job of the shape has ended on these nodes."""
        for place in places:
            self.free_cpus[place] += shape.cpus
            self.free_memory[place] += shape.memory_bytes
            self.free_gpus[place] += shape.gpus
