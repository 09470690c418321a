"""The C core under ThreadSanitizer, AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CORE = ROOT / "pipeline" / "channels"
THREADS = ("-fsanitize=thread", "-Wno-tsan")
ADDRESSES = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PUBLISHED = 200_000
RACE = 66  # exit code of ThreadSanitizer
_NOT_IN_PYTHON = ("-k", "not reference")  # of which the sanitizer sees nothing


def compiler() -> str:
    """Return the C compiler; skip without one."""
    found = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("cc")
    if found is None:
        pytest.skip("needs a C compiler")
    return found


def build(folder: Path, *flags: str, wrong: tuple[str, str] | None = None) -> Path:
    """Return the harness built with ``flags``; skip where the sanitizer's library is absent.

    ``wrong`` replaces one text of the core by another: a known-bad core.
    """
    core = (CORE / "_ring.h").read_text()
    if wrong is not None:
        assert wrong[0] in core
        core = core.replace(*wrong)
    (folder / "_ring.h").write_text(core)
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    sanitizer = [flag for flag in flags if flag.startswith("-fsanitize=")]
    probe = [compiler(), *sanitizer, str(empty), "-o", str(folder / "empty")]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip(f"the compiler cannot link {' '.join(sanitizer)}")
    program = folder / "ring_tsan"
    common = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{folder}"]
    source = str(HERE / "ring_tsan.c")
    built = subprocess.run(
        [compiler(), *common, *flags, source, "-o", str(program)], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return program


def run(program: Path, published: int, *how: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": ""}
    return subprocess.run(
        [str(program), str(published), *how],
        capture_output=True,
        text=True,
        env=environment,
        timeout=90,
    )


@pytest.mark.parametrize("how", [(), ("views",)], ids=["copies", "views"])
@pytest.mark.parametrize(
    "flags", [THREADS, ADDRESSES, ("-O2",)], ids=["threads", "addresses", "none"]
)
def test_writers_that_take_over_and_three_readers_that_follow_pass_the_harness(
    tmp_path: Path, flags: tuple[str, ...], how: tuple[str, ...]
) -> None:
    ended = run(build(tmp_path, *flags), 5 * PUBLISHED, *how)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""


def test_plain_copies_of_slots_are_found_by_the_sanitizer(tmp_path: Path) -> None:
    wrong = ("store_relaxed(slot + i, value);", "*(uint64_t *)(uintptr_t)(slot + i) = value;")
    ended = run(build(tmp_path, *THREADS, wrong=wrong), PUBLISHED)
    assert ended.returncode == RACE, ended.stdout + ended.stderr
    assert "data race" in ended.stderr


BY_PUBLISHED = ("claimed = load_relaxed(channel->words + CLAIMED)", "claimed = ring_end(channel)")
NOT_AT_ALL = ("return torn < count ? torn : count;", "return 0 * torn * count;")
needs_two_cpus = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2,
    reason="needs two CPUs: a record is torn by two threads at the same time",
)


@needs_two_cpus
@pytest.mark.parametrize(
    "wrong", [BY_PUBLISHED, NOT_AT_ALL], ids=["validated by published", "not validated"]
)
def test_the_harness_sees_a_torn_record(tmp_path: Path, wrong: tuple[str, str]) -> None:
    ended = run(build(tmp_path, "-O2", wrong=wrong), 100 * PUBLISHED)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    found = ("failed: torn at", "failed: order at", "failed: torn in a view at")
    assert ended.stderr.startswith(found)


@needs_two_cpus
@pytest.mark.parametrize(
    "wrong", [BY_PUBLISHED, NOT_AT_ALL], ids=["released by published", "not validated"]
)
def test_the_harness_sees_a_torn_record_in_a_view(tmp_path: Path, wrong: tuple[str, str]) -> None:
    ended = run(build(tmp_path, "-O2", wrong=wrong), 100 * PUBLISHED, "views")
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert ended.stderr.startswith("failed: torn in a view at")


def test_the_harness_sees_readers_that_take_a_superseded_ring_for_its_end(tmp_path: Path) -> None:
    wrong = ("state != STATE_OPEN && state != STATE_SUPERSEDED &&", "state != STATE_OPEN &&")
    ended = run(build(tmp_path, "-O2", wrong=wrong), PUBLISHED)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert ended.stderr.startswith("failed: sums at")


def test_the_channel_tests_pass_with_the_extension_under_the_address_sanitizer(
    tmp_path: Path,
) -> None:
    for folder in ("pipeline", "tests", "configs"):
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    build_extension(tmp_path / "pipeline" / "channels")
    libraries = [library(name) for name in ("libasan.so", "libubsan.so")]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own
        "PYTHONMALLOC": "malloc",  # so that a byte beyond an object is seen
    }
    rings = ("ring", "ring_laps", "ring_restarts", "ring_views")
    names = ("native", *rings, "queue", "cell", "waiting")
    files = [f"tests/unit/channels/test_{name}.py" for name in names]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_NOT_IN_PYTHON, *files],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-5_000:] + ended.stderr[-5_000:]
    assert "skipped" not in ended.stdout.splitlines()[-1]


def build_extension(channels: Path) -> None:
    """Build ``_native.c`` in place under AddressSanitizer; skip without Python's headers."""
    headers = sysconfig.get_paths()["include"]
    if not (Path(headers) / "Python.h").exists():
        pytest.skip(f"needs the headers of Python in {headers}")
    flags = ["-shared", "-fPIC", "-O1", "-g", "-std=gnu11", "-DPy_LIMITED_API=0x030B0000"]
    source, target = str(channels / "_native.c"), str(channels / "_native.abi3.so")
    command = [compiler(), *flags, *ADDRESSES, f"-I{headers}", source, "-o", target]
    built = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip("the compiler has no AddressSanitizer")
    assert built.returncode == 0, built.stderr


def library(name: str) -> str:
    found = subprocess.run(
        [compiler(), f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip(f"the compiler has no {name}")
    return found
