"""The rules of the house hold in this tree, and each rule can fail."""
from pathlib import Path

import pytest
import rules

ROOT = Path(__file__).resolve().parents[2]

# For each rule, files that break it, and the number of lines it must say about them.
MACHINE = "/" + "tmp/"
BAD = {
    "storeys": ({"kernels/rope/rope.cpp": '#include "csrc/core/error.h"\n', "csrc/io/a.cpp": '#include "a.h"\n'}, 2),
    "rooms": ({"csrc/ops/add.cpp": '#include "csrc/gemma/config.h"\n',
               "kernels/rope/a.cpp": '#include "kernels/add/add.h"\n'}, 2),
    "one_door": ({"csrc/ops/add.cpp": "#pragma omp parallel for\n", "csrc/io/a.cpp": "#include <pybind11/numpy.h>\n",
                  "csrc/core/a.h": "// sum\n__m256 sum;\n"}, 3),
    "variants": ({"kernels/add/add.cpp": '#include "kernels/add/vector.h"\n', "kernels/add/vector.h": "// a\n__m512 v;\n",
                  "kernels/rope/reference.cpp": "auto v = _mm256_add_ps(a, b);\n"}, 2),
    "python_imports": ({"examples/demo.py": '"""A."""\nfrom gemloupe._core import load\n'}, 1),
    "names": ({"csrc/io/utils.cpp": "int n;\n", "csrc/io/a.cpp": "struct FileManager {};\nint do_it();\n",
               "python/gemloupe/a.py": '"""A helper."""\ndef helper(): pass\n'}, 4),
    "macros": ({"csrc/io/a.h": "// a\n#define CHECK(x) x\n"}, 1),
    "contracts": ({"csrc/io/a.h": "#pragma once\n// late\n", "python/gemloupe/a.py": "import sys\n"}, 2),
    "long_files": ({"csrc/io/a.cpp": "// Reads files.\n" + "int n;\n" * 401}, 1),
    "shape": ({"csrc/io/a.cpp": "x" * 161 + "\n\tint n; \n" + "//" + "=" * 20 + "\nend"}, 5),
    "finished": ({"csrc/io/a.cpp": "// TODO: shards\n"}, 1),
    "no_machine": ({"README.md": f"see {MACHINE}x\n", "tests/python/a.py": f'path = "{MACHINE}y"\n'}, 2),
    "quiet": ({"csrc/io/a.cpp": 'void f() { std::cerr << "no"; }\n', "kernels/add/add.cpp": "void g() { abort(); }\n"}, 2),
    "two_errors": ({"csrc/io/a.cpp": 'void f() { throw std::runtime_error("no"); }\n'}, 1),
    "tested": ({"kernels/add/add.h": "// a\n", "tests/kernels/a.cpp": '#include "kernels/rope/rope.h"\n'}, 1),
}


@pytest.fixture(scope="session")
def tree():
    return rules.read_tree(ROOT)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_holds(rule, tree):
    broken = list(rule(tree))
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_can_fail(rule):
    bad, lines = BAD[rule.__name__]
    broken = list(rule(bad))
    assert len(broken) == lines, broken


def test_the_tree_is_read(tree):
    assert {"CMakeLists.txt", "kernels/common/isa.h", "tests/house/rules.py"} <= set(tree)


def test_comments_and_quotes_are_no_code():
    text = 'int a;  // helper\nconst char* b = "helper // no"; /* helper\n */ int c;\nauto d = R"(helper)";\n'
    assert "helper" not in rules.without_comments("a.cpp", text)
    assert rules.without_comments("a.cpp", text).count("\n") == text.count("\n")
    assert "helper" not in rules.without_comments("a.py", '"""helper"""\na = "helper"  # helper\n')
