"""Objects compiled for AVX2 or AVX-512 lend no function to the rest of the program.

A shared inline function that such a file emits is a weak symbol, and the linker may give it to everybody: a machine without the
instructions then stops at an illegal one. So a variant's object may define no weak symbol at all.
"""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GEMLOUPE_BUILD", ROOT / "build"))
VARIANTS = ("avx2", "avx512", "amx")


def weak_symbols(path: Path) -> list[str]:
    # DW.ref.… is the address of a routine that unwinding needs: no code.
    listed = subprocess.run(["nm", "-C", "--defined-only", str(path)], capture_output=True, text=True, check=True).stdout
    symbols = [line for line in listed.splitlines() if len(line.split()) > 2 and line.split()[1] in "WVuwv"]
    return [line for line in symbols if not line.split()[2].startswith("DW.ref.")]


@pytest.fixture(scope="module")
def objects():
    if not shutil.which("nm"):
        pytest.skip("nm (binutils) is not there")
    found = [p for p in BUILD.glob("CMakeFiles/gemloupe.dir/kernels/**/*.o") if p.name.startswith(VARIANTS)]
    cache = BUILD / "CMakeCache.txt"
    if not found or "CMAKE_BUILD_TYPE:STRING=Debug" in cache.read_text(encoding="utf-8"):
        pytest.skip(f"no optimised build with variants in {BUILD}: run make test, or name one in GEMLOUPE_BUILD")
    return found


def test_variants_lend_nothing(objects):
    lent = [f"{path.relative_to(BUILD)}: {line}" for path in objects for line in weak_symbols(path)]
    assert not lent, "\n".join(lent)


def test_it_would_be_seen(tmp_path):
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if not compiler or not shutil.which("nm"):
        pytest.skip("a compiler and nm are needed")
    source = tmp_path / "avx2.cpp"
    source.write_text("#include <vector>\nstd::vector<int> f(int n) { return std::vector<int>(n, 1); }\n"
                      "inline int twice(int n) { return 2 * n; }\nauto address = &twice;\n")
    subprocess.run([compiler, "-c", "-O2", str(source), "-o", str(tmp_path / "a.o")], check=True)
    assert any("twice" in line for line in weak_symbols(tmp_path / "a.o"))
