"""The C core under ThreadSanitizer, AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CORE = HERE.parent.parent / "pipeline" / "channels"
THREADS = ("-fsanitize=thread", "-Wno-tsan")
ADDRESSES = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PUBLISHED = 200_000
RACE = 66  # exit code of ThreadSanitizer


def compiler() -> str:
    """Return the C compiler; skip without one."""
    found = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("cc")
    if found is None:
        pytest.skip("needs a C compiler")
    return found


def build(folder: Path, *flags: str) -> Path:
    """Return the harness built with ``flags``; skip where the sanitizer's library is absent."""
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    sanitizer = [flag for flag in flags if flag.startswith("-fsanitize=")]
    probe = [compiler(), *sanitizer, str(empty), "-o", str(folder / "empty")]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip(f"the compiler cannot link {' '.join(sanitizer)}")
    program = folder / "ring_tsan"
    common = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{CORE}"]
    source = str(HERE / "ring_tsan.c")
    built = subprocess.run(
        [compiler(), *common, *flags, source, "-o", str(program)], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return program


def run(program: Path, published: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": ""}
    return subprocess.run(
        [str(program), str(published)], capture_output=True, text=True, env=environment, timeout=90
    )


@pytest.mark.parametrize("flags", [THREADS, ADDRESSES], ids=["threads", "addresses"])
def test_one_writer_and_two_readers_pass_the_sanitizer(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    ended = run(build(tmp_path, *flags), PUBLISHED)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""


def test_plain_copies_of_slots_are_found_by_the_sanitizer(tmp_path: Path) -> None:
    ended = run(build(tmp_path, *THREADS, "-DTICKPIPE_PLAIN_COPY"), PUBLISHED)
    assert ended.returncode == RACE, ended.stdout + ended.stderr
    assert "data race" in ended.stderr
