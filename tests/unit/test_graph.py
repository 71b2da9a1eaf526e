"""Pure operations on the graph of templates."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wlmctl.experiment.model import Need, Template
from wlmctl.graph import behind, cycle, dependents, order


def graph(**needs: str) -> list[Template]:
    return [Template(name, "job", {}, needs=tuple(map(Need, text.split()))) for name, text in needs.items()]


def test_a_cycle_is_told_along_its_way() -> None:
    assert cycle(graph(a="", b="a", c="b")) is None
    assert cycle(graph(x="a", a="b", b="c", c="a")) == ["a", "b", "c", "a"]
    assert cycle(graph(a="a")) == ["a", "a"]


def test_order_puts_needs_first_and_keeps_the_order_of_the_file() -> None:
    assert [t.name for t in order(graph(c="b", a="", b="a", d=""))] == ["a", "b", "c", "d"]


def test_dependents_and_all_that_stands_behind() -> None:
    templates = graph(a="", b="a", c="a b", d="c", e="")
    assert dependents(templates) == {"a": ["b", "c"], "b": ["c"], "c": ["d"], "d": [], "e": []}
    assert behind(templates, ["b"]) == {"c", "d"}
    assert behind(templates, ["e"]) == set()


@given(st.lists(st.sets(st.integers(0, 11), max_size=4), min_size=1, max_size=12))
def test_what_has_no_cycle_can_be_ordered(edges: list[set[int]]) -> None:
    templates = [
        Template(str(n), "job", {}, needs=tuple(Need(str(m)) for m in sorted(needed) if m < len(edges)))
        for n, needed in enumerate(edges)
    ]
    path = cycle(templates)
    needs = {t.name: {need.task for need in t.needs} for t in templates}
    if path is None:
        place = {t.name: index for index, t in enumerate(order(templates))}
        assert len(place) == len(templates)
        assert all(place[needed] < place[name] for name, some in needs.items() for needed in some)
    else:
        assert path[0] == path[-1]
        assert all(later in needs[earlier] for earlier, later in pairwise(path))


def test_a_long_chain_needs_no_recursion() -> None:
    chain = [Template(f"t{n}", "job", {}, needs=(Need(f"t{n - 1}"),) if n else ()) for n in range(20_000)]
    assert cycle(chain) is None
    assert len(behind(chain, ["t0"])) == 19_999
    assert [t.name for t in order(chain[::-1])][:2] == ["t0", "t1"]
