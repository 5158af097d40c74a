"""Programs outside the project, built against an installed MiniInfer."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def call(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    prefix, build = tmp_path_factory.mktemp("prefix"), tmp_path_factory.mktemp("build")
    call("cmake", "--install", ROOT / "build", "--prefix", prefix)
    call("cmake", "-G", "Ninja", "-S", ROOT / "examples", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", build)
    return prefix, build


def test_installed_program_says_its_version(examples):
    assert call(examples[0] / "bin/miniinfer", "--version").startswith("miniinfer 0.")


def test_only_public_headers_are_installed(examples):
    headers = {p.relative_to(examples[0] / "include").as_posix() for p in (examples[0] / "include").rglob("*.h")}
    assert "miniinfer/llm.h" in headers and "miniinfer/ops/linear.h" in headers
    assert all(h.startswith("miniinfer/") for h in headers)


def test_a_program_of_ten_lines_answers(examples):
    assert "42" in call(examples[1] / "generate")


def test_a_program_calls_one_operator(examples):
    # Rows (3, 4) and (-3, -4): the root of the mean square is sqrt(12.5).
    values = [float(v) for v in call(examples[1] / "rms_norm").split()]
    assert values == pytest.approx([0.8485, 2.2627, -0.8485, -2.2627], abs=2e-4)


def test_the_program_needs_only_the_system_libraries(examples):
    needed = {line.split()[0] for line in call("ldd", examples[0] / "bin/miniinfer").splitlines()}
    allowed = ("linux-vdso", "libc.so", "libm.so", "libpthread", "libdl", "librt", "/lib64/ld-linux", "libgcc_s")
    assert all(n.startswith(allowed) for n in needed), needed
