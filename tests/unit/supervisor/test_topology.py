from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.supervisor.topology import read_topology


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return root


def siblings(cpu: int, text: str) -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": text}


def test_hyperthreads_share_a_core_in_either_form_of_the_list(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        siblings(0, "0,2") | siblings(2, "0,2") | siblings(4, "4-5") | siblings(5, "4-5"),
    )
    assert read_topology(root, {5, 4, 2, 0}).core_of == {0: 0, 2: 0, 4: 4, 5: 4}


def test_the_allowed_cpus_are_sorted_and_others_are_not_looked_at(tmp_path: Path) -> None:
    root = put(tmp_path, siblings(0, "0") | siblings(1, "1") | siblings(3, "3"))
    topology = read_topology(root, {3, 1})
    assert topology.allowed == (1, 3)
    assert topology.core_of == {1: 1, 3: 3}


def test_a_sibling_that_is_not_allowed_still_names_the_core(tmp_path: Path) -> None:
    root = put(tmp_path, siblings(6, "2,6"))
    assert read_topology(root, {6}).core_of == {6: 2}


def test_without_sys_every_cpu_is_a_core_and_nothing_is_limited(tmp_path: Path) -> None:
    topology = read_topology(tmp_path, {0, 1})
    assert topology.core_of == {0: 0, 1: 1}
    assert topology.isolated == ()
    assert topology.quota_cpus is None


def test_isolated_cpus_are_found_with_their_cores(tmp_path: Path) -> None:
    root = put(tmp_path, {"sys/devices/system/cpu/isolated": "2-3"} | siblings(3, "1,3"))
    topology = read_topology(root, {0, 1})
    assert topology.isolated == (2, 3)
    assert topology.core_of == {0: 0, 1: 1, 2: 2, 3: 1}


def test_nothing_isolated_is_an_empty_line(tmp_path: Path) -> None:
    root = put(tmp_path, {"sys/devices/system/cpu/isolated": ""})
    assert read_topology(root, {0}).isolated == ()


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "0::/trading.slice/run.scope",
                "sys/fs/cgroup/trading.slice/cpu.max": "200000 100000",
                "sys/fs/cgroup/trading.slice/run.scope/cpu.max": "max 100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/cpu.max": "50000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000",
            },
            0.5,
        ),
        ({"proc/self/cgroup": "4:cpu:/old", "sys/fs/cgroup/old/cpu.max": "1 1"}, None),
    ],
    ids=["own", "unlimited", "the parent's", "the smallest", "cgroup v1"],
)
def test_the_cgroups_share_of_cpu_time(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert read_topology(put(tmp_path, files), {0}).quota_cpus == quota


def test_this_machine_can_be_read() -> None:
    topology = read_topology()
    assert topology.allowed == tuple(sorted(os.sched_getaffinity(0)))
    assert set(topology.allowed) <= set(topology.core_of)
