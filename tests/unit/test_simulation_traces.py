"""Traces as they are read: what a line means, and what is said of one that means nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.traces import MACHINES, standard_line, swf_line, write_pods, write_trace
from wlmctl.errors import InvalidFile, UsageError
from wlmctl.machine import Machine
from wlmctl.simulation.machines_file import inventory_nodes, read_machines
from wlmctl.simulation.sources import from_trace
from wlmctl.simulation.swf import read_swf
from wlmctl.simulation.workload import Job, Workload, prepare

LEVELS = {"q_day": 4, "2": 4, "LS": 4}


def the_job(folder: Path, line: str) -> Job:
    (job,) = read_swf(write_trace(folder, [line])).jobs
    return job


def permitted(folder: Path, spec: str, procs: int = 2) -> list[str]:
    """The nodes that a job with this wish may have."""
    workload = from_trace(write_trace(folder, [swf_line(1, 0, 60, procs, spec=spec)]), None, {})
    (shape,) = prepare(workload, LEVELS).shapes
    return [workload.nodes[place].name for place in shape.permitted]


def test_a_line_of_21_fields_asks_for_nodes_with_memory_in_bytes_for_each(tmp_path: Path) -> None:
    line = swf_line(1, 50, 60, 16, walltime_s=600, user=7, queue="q_week", spec="2:ppn=8:cl_large", memory=2048)
    assert the_job(tmp_path, line) == Job(
        50, 60, 8, 2048, 0, 2, 600, "7", "q_week", ("cl_large",)
    )  # fmt: skip


def test_a_line_of_18_fields_asks_for_processors_of_one_machine(tmp_path: Path) -> None:
    path = write_trace(tmp_path, ["; MaxProcs: 32", standard_line(1, 50, 60, 16, walltime_s=-1)], None)
    workload = from_trace(path, None, {})
    assert list(workload.jobs) == [Job(50, 60, 16, 0, 0, 1, None, "7", "2")]
    assert [(node.name, node.cpus, node.memory_bytes) for node in workload.nodes] == [("cluster1", 32, None)]


def test_memory_of_the_standard_is_in_kilobytes_for_each_processor(tmp_path: Path) -> None:
    words = standard_line(1, 50, 60, 4).split()
    words[9] = "1000"
    assert the_job(tmp_path, " ".join(words)).memory_bytes == 4 * 1000 * 1024


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("1:ppn=2", ["small1", "small2", "small3", "small4", "large1", "large2"]),
        ("1:ppn=2:brno:x86_64:nfs4", ["small1", "small2", "small3", "small4", "large1", "large2"]),
        ("1:ppn=2:cl_large", ["large1", "large2"]),
        ("1:ppn=2:^cl_large:^small3.site.example", ["small1", "small2", "small4"]),
        ("1:ppn=2:small3.site.example", ["small3"]),
        ("1:ppn=2:host=large2", ["large2"]),
        ("small2.site.example:ppn=2", ["small2"]),
        ("1:ppn=2:nodecpus16", ["large1", "large2"]),
        ("1:ppn=8", ["large1", "large2"]),
        ("²:ppn=²", ["small1", "small2", "small3", "small4", "large1", "large2"]),
    ],
)
def test_properties_say_which_nodes_a_job_may_have(tmp_path: Path, spec: str, expected: list[str]) -> None:
    assert permitted(tmp_path, spec) == expected


def test_a_node_for_itself_is_all_of_the_nodes_cpus(tmp_path: Path) -> None:
    workload = from_trace(write_trace(tmp_path, [swf_line(1, 0, 60, 2, spec="1:ppn=2:cl_large#excl")]), None, {})
    (shape,) = prepare(workload, LEVELS).shapes
    assert shape.cpus == 16


def test_of_unlike_parts_all_count_as_the_largest(tmp_path: Path) -> None:
    job = the_job(tmp_path, swf_line(1, 0, 60, 7, spec="1:ppn=1+3:ppn=2"))
    assert (job.nodes, job.cpus) == (4, 2)


def test_jobs_that_never_ran_and_jobs_that_fit_nowhere_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [swf_line(1, 0, 60, 2), swf_line(2, 0, -60, 2), swf_line(3, 0, 60, 99)]
    workload = from_trace(write_trace(tmp_path, lines), None, {})
    problem = prepare(workload, LEVELS)
    assert len(problem.jobs) == 1
    assert [note.split()[0] for note in problem.notes] == ["1", "1"]


def test_equal_jobs_have_one_shape(tmp_path: Path) -> None:
    lines = [swf_line(number, number, 10 * number + 1, 2, user=number % 2) for number in range(10)]
    problem = prepare(from_trace(write_trace(tmp_path, lines), None, {}), LEVELS)
    assert problem.distinct == 2


def test_a_gzipped_trace_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = write_trace(tmp_path, [swf_line(1, 0, 60, 2)])
    packed = tmp_path / "packed.swf.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    unnamed = tmp_path / "packed"
    unnamed.write_bytes(packed.read_bytes())
    (tmp_path / "packed.machines").write_text(MACHINES)
    assert from_trace(packed, None, {}).jobs == from_trace(unnamed, None, {}).jobs == from_trace(path, None, {}).jobs


def test_pods_are_typed_slots(tmp_path: Path) -> None:
    pods = [
        "a,6500,100,1,460,T4|P100,LS,Running,10,100,20",
        "b,1000,100,1,1000,,BE,Pending,10,100,",
        "c,1000,100,0,0,,BE,Running,10,100,20",
    ]
    nodes = ["n0,8000,4096,1,T4", "n1,8000,4096,1,G2", "n2,32000,4096,0,"]
    workload = from_trace(write_pods(tmp_path, pods, nodes), None, {})
    assert list(workload.jobs) == [Job(10, 80, 7, 100 << 20, 1, queue="LS", wants=("P100|T4",))]
    assert [workload.nodes[place].name for place in prepare(workload, LEVELS).shapes[0].permitted] == ["n0"]
    assert len(workload.notes) == 2


def test_the_inventory_is_nodes_with_its_labels() -> None:
    machines = {
        "local": Machine("local"),
        "cluster": Machine("cluster", host="c.example", cpus=64, memory_bytes=1 << 30, gpus=2, labels=("gpu",)),
        "unknown": Machine("unknown", host="u.example"),
    }
    here, cluster = inventory_nodes(machines)
    assert here.name == "local"
    assert here.cpus >= 1
    assert (cluster.name, cluster.cpus, cluster.gpus) == ("cluster", 64, 2)
    assert cluster.has(["gpu"])


GOOD = swf_line(1, 0, 60, 2)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([GOOD, "1 2 3"], "small.swf:2: 3 fields, expected 18 fields of the Standard Workload Format, or 21"),
        ([GOOD, GOOD.replace(" 60 ", " soon ", 1)], "small.swf:2: field 4: 'soon', expected a number"),
        ([GOOD, GOOD.replace(" 60 ", " nan ", 1)], "small.swf:2: field 4: 'nan', expected a number"),
        ([f"; MaxProcs: {'9' * 5000}", GOOD], f"small.swf:1: MaxProcs: '{'9' * 57}'..., expected a number"),
        ([], "small.swf: no job that ran, expected a trace in the Standard Workload Format, or Alibaba's CSV"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: list[str], told: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        from_trace(write_trace(tmp_path, lines), None, {})
    assert str(caught.value) == f"{tmp_path}/{told}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 small 4 4 1\n", "1: 5 fields, expected 6: id name nodes cpus speed memory_KB"),
        ("0 small 4 4 1 8\n0 large none 4 1 8\n", "2: nodes: 'none', expected a number"),
        ("0 small 0 4 1 8\n", "1: nodes: '0', expected a whole number of 1 to 1,000,000"),
        ("sn,cpu_milli,memory_mib,gpu\n", "1: no column model, expected a first line with"),
        ("sn,cpu_milli,memory_mib,gpu,model\na,1,2\n", "2: 3 fields, expected 5, as above"),
    ],
)
def test_a_wrong_line_of_a_file_of_machines_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "x.machines"
    path.write_text(text)
    with pytest.raises(InvalidFile) as caught:
        read_machines(path)
    assert str(caught.value).startswith(f"{path}:{told}")


def test_a_wrong_pod_is_named(tmp_path: Path) -> None:
    path = write_pods(tmp_path, ["a,many,100,1,460,,LS,Running,10,100,20"], ["n0,8000,4096,1,T4"])
    with pytest.raises(InvalidFile, match=r"pods.csv:2: cpu_milli: 'many', expected a number"):
        from_trace(path, None, {})


def test_a_row_that_is_no_csv_is_named(tmp_path: Path) -> None:
    path = write_pods(tmp_path, ["a\rb,1000,100,1,460,,LS,Running,10,100,20"], ["n0,8000,4096,1,T4"])
    with pytest.raises(InvalidFile, match=r"pods.csv:2: new-line character seen in unquoted field"):
        from_trace(path, None, {})


def test_a_job_that_asks_for_more_than_any_number_fits_nowhere(tmp_path: Path) -> None:
    assert the_job(tmp_path, swf_line(1, 0, 60, 2, spec=f"1:ppn={'9' * 5000}")).cpus >= 10**9
    assert the_job(tmp_path, swf_line(1, 0, 60, 2, spec=f"{'9' * 5000}:ppn=1")).nodes >= 10**9


def test_a_broken_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.swf.gz"
    path.write_bytes(gzip.compress(f"{GOOD}\n".encode() * 1000)[:-30])
    with pytest.raises(InvalidFile, match=r"x.swf.gz:\d*:? ?broken gzip data .*, expected a whole file"):
        from_trace(path, None, {})


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.swf"
    path.write_bytes(b"; fine\n\xff\xfe\n")
    with pytest.raises(InvalidFile, match=r"x.swf:\d: bytes that are no UTF-8, expected text"):
        from_trace(path, None, {})


def test_a_trace_without_machines_says_how_to_name_them(tmp_path: Path) -> None:
    path = write_trace(tmp_path, [GOOD], machines=None)
    with pytest.raises(UsageError, match=r"no file small.machines beside it .* give --machines FILE"):
        from_trace(path, None, {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.swf: No such file or directory"):
        from_trace(tmp_path / "none.swf", None, {})


def test_an_empty_workload_has_no_jobs() -> None:
    assert prepare(Workload([], []), {}).distinct == 0
