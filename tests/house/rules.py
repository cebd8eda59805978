"""The rules of the house as functions: each takes a tree (path -> text) and gives what breaks it, one line each.

A path is relative to the root, with slashes. The tests run every rule on the real tree, and on a small bad one that it must
catch.
"""
import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

COLUMNS = 160  # 128 is the aim; beyond this a line is refused
CODE = (".cpp", ".h", ".py", ".cmake")
TEXT = CODE + (".txt", ".md", ".toml", ".cff", ".yml", ".yaml", ".ipynb", ".pyi", ".in", ".sh")

# Which rooms each room of csrc may look into; kernels are open to all of them.
CSRC_MAY_INCLUDE = {
    "core": {"core"},
    "formats": {"core", "formats"},
    "io": {"core", "io"},
    "graph": {"core", "formats", "graph"},
    "ops": {"core", "formats", "graph", "ops"},
    "gemma": {"core", "formats", "graph", "io", "ops", "gemma"},
    "session": {"core", "formats", "graph", "io", "session"},
}
# Which kernel rooms use another one besides common.
KERNELS_MAY_INCLUDE = {"experts": {"matmul"}, "matmul": {"codes"}, "int8": {"matmul", "strips"}}


def read_tree(root: Path) -> dict[str, str]:
    """The files that git would commit, or all of them outside a repository; binary ones and golden data are left out."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        paths = [root / line for line in listed.stdout.splitlines()]
    else:
        skipped = {"build", ".venv", ".git", ".cache", "dist", "__pycache__", ".pytest_cache", ".hypothesis"}
        paths = [p for p in root.rglob("*") if not skipped & set(p.relative_to(root).parts)]
    tree = {}
    for path in sorted(set(paths)):
        name = path.relative_to(root).as_posix()
        if not path.is_file() or path.is_symlink():
            continue
        if path.suffix in TEXT or name in ("Makefile", "LICENSE") or name.startswith(".ci/"):
            if "/golden/" not in name or path.suffix in CODE:
                tree[name] = path.read_text(encoding="utf-8")
    return tree


def code(tree, *suffixes):
    return {path: text for path, text in tree.items() if path.endswith(suffixes or CODE)}


def room(path: str) -> str:
    """kernels/rope/avx2.cpp -> rope."""
    return path.split("/")[1] if path.count("/") > 1 else ""


def included(text: str):
    """(line number, what stands between the quotes or brackets) of each #include."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r'\s*#\s*include\s*([<"])([^">]+)', line):
            yield number, found[1], found[2]


def without_comments(path: str, text: str) -> str:
    """The code alone, without comments and what stands in quotes; lines keep their numbers."""
    if path.endswith(".py"):
        kept, row, column = [], 1, 0
        try:
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type in (tokenize.COMMENT, tokenize.STRING, tokenize.INDENT, tokenize.DEDENT):
                    continue
                kept.append("\n" * (token.start[0] - row) + " " + token.string)
                row, column = token.end
        except (tokenize.TokenError, SyntaxError):
            return text
        return "".join(kept)
    comment, raw = r"//[^\n]*|/\*.*?\*/", r'R"([^(\s]*)\(.*?\)\1"'
    quoted = r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])'"
    return re.sub(f"{comment}|{raw}|{quoted}", lambda found: "\n" * found[0].count("\n") if found[0][0] == "/" else '""', text,
                  flags=re.S)


def first_comment(path: str, text: str) -> str:
    """What a file says about itself before its code."""
    if path.endswith(".py"):
        found = re.match(r'(?:#[^\n]*\n)*\s*(?:[rR]?"""(.*?)"""|((?:#[^\n]*\n)+))', text, flags=re.S)
        return found[0] if found else ""
    lines = []
    for line in text.splitlines():
        if not re.match(r"\s*(//|#(?!\s*(include|pragma|if|define)))", line):
            break
        lines.append(line)
    return "\n".join(lines)


# ---- Storeys


def storeys(tree):
    """kernels look at kernels, csrc at csrc and kernels, python at all three; nobody looks at the guests."""
    may = {"kernels": {"kernels"}, "csrc": {"kernels", "csrc"}, "python": {"kernels", "csrc", "python"},
           "tests": {"kernels", "csrc", "tests", "benchmarks"}, "benchmarks": {"kernels", "csrc", "benchmarks"},
           "examples": {"kernels", "csrc"}}
    for path, text in code(tree, ".cpp", ".h").items():
        storey = path.split("/")[0]
        for number, quote, name in included(text):
            if quote == "<" or path.startswith("tests/extension/") and "/" not in name:  # a project of its own
                continue
            target = name.split("/")[0]
            if target not in may.get(storey, set()):
                yield f'{path}:{number}: {storey} must not include "{name}" (from the root: {sorted(may.get(storey, set()))})'
            elif "/" + name in path or name.startswith("."):
                yield f'{path}:{number}: "{name}" is not spelled from the root'


def rooms(tree):
    """Inside a storey, arrows point one way too: ops know no Gemma, kernels know their neighbours only by agreement."""
    for path, text in code(tree, ".cpp", ".h").items():
        storey = path.split("/")[0]
        for number, quote, name in included(text):
            if quote == "<" or not name.startswith(("kernels/", "csrc/")):
                continue
            here, there = room(path), room(name)
            if storey == "csrc" and name.startswith("csrc/") and there not in CSRC_MAY_INCLUDE.get(here, set()):
                yield f"{path}:{number}: csrc/{here} must not look into csrc/{there}"
            if storey == "kernels" and there not in {here, "common"} | KERNELS_MAY_INCLUDE.get(here, set()):
                yield f"{path}:{number}: kernels/{here} must not look into kernels/{there}"


def one_door(tree):
    """A dependency is named in one kind of place: intrinsics, OpenMP, oneDNN and Eigen in kernels, pybind11 in the bindings."""
    doors = [
        (r"\b_mm\d*_\w+|\b__m(128|256|512)\w*\b|\bimmintrin\.h|\bcpuid\.h|\b_tile_\w+", ("kernels/",),
         "intrinsics"),
        (r"#\s*pragma\s+omp\b|\bomp\.h|\bomp_\w+\(", ("kernels/common/team.cpp",), "OpenMP"),
        (r"\bdnnl\b|\bdnnl\.hpp|\bEigen\b|<Eigen/", ("kernels/", "benchmarks/", "tests/"), "oneDNN and Eigen"),
        (r"\bpybind11\b", ("python/bindings/",), "pybind11"),
        (r"\bnlohmann\b", ("csrc/io/", "csrc/gemma/", "tests/csrc/"), "nlohmann-json"),
    ]
    for path, text in code(tree, ".cpp", ".h").items():
        bare = re.sub(r"//[^\n]*", "", text)
        for pattern, places, what in doors:
            if not path.startswith(places) and (found := re.search(pattern, bare)):
                yield f"{path}: {what} ({found[0]}) belong in {', '.join(places)}"


def variants(tree):
    """Intrinsics stand in files that are compiled for them (avx2…, avx512…, amx…), or in headers that only those include."""
    vector = re.compile(r"\b_mm\d*_\w+|\b__m(128|256|512)\w*\b|\bimmintrin\.h")
    compiled = lambda path: path.rsplit("/", 1)[1].startswith(("avx2", "avx512", "amx"))
    kernels = {path: text for path, text in code(tree, ".cpp", ".h").items() if path.startswith("kernels/")}
    wide = {path for path, text in kernels.items() if path.endswith(".h") and vector.search(re.sub(r"//[^\n]*", "", text))}
    for path, text in kernels.items():
        if path.endswith(".cpp") and not compiled(path) and path != "kernels/common/isa.cpp":
            if vector.search(re.sub(r"//[^\n]*", "", text)):
                yield f"{path}: intrinsics in a file that is compiled for every machine"
        if path not in wide and not compiled(path):
            for number, _, name in included(text):
                if name in wide:
                    yield f"{path}:{number}: {name} holds intrinsics, and this file is compiled for every machine"


def python_imports(tree):
    """The extension module has one owner: only the package and the tests of it import gemloupe._core."""
    for path, text in code(tree, ".py").items():
        if not path.startswith(("python/gemloupe/", "tests/python/", "tests/house/")):
            if re.search(r"\bgemloupe\._core\b|import _core\b", text):
                yield f"{path}: gemloupe._core is the package's own; import gemloupe"


# ---- Names

BANNED = {"utils", "util", "helper", "helpers", "manager", "impl", "process", "handle", "info"}
# Words of others, in C++: doctest's and pybind11's.
FOREIGN = {"INFO", "buffer_info"}


def words(identifier: str) -> set[str]:
    """TensorEntry, tensor_info -> tensor, info."""
    return {w.lower() for part in identifier.split("_") for w in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", part)}


def given_names(path: str, text: str):
    """(line, name) of what a file names: in Python all that it defines or assigns; in C++ every word but members of others."""
    if not path.endswith(".py"):
        bare = without_comments(path, text)
        for found in re.finditer(r"(?<![\w:.>])[A-Za-z_]\w*(?!\w*::)", bare):
            if found[0] not in FOREIGN:
                yield bare.count("\n", 0, found.start()) + 1, found[0]
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def names(tree):
    """No utils, no managers: a name says what a thing is."""
    for path, text in code(tree).items():
        if words(path.rsplit("/", 1)[-1].rsplit(".", 1)[0]) & BANNED:
            yield f"{path}: the file's name says nothing"
        if path.startswith("tests/house/") or path.endswith(".cmake"):
            continue
        seen = set()
        for line, name in given_names(path, text):
            if name not in seen and (words(name) & BANNED or re.match(r"(do|new|old)_\w|(\w+_)?v2$", name)):
                seen.add(name)
                yield f"{path}:{line}: {name} is made of a banned word"


def macros(tree):
    """No macros but CMake options and those of the compiler."""
    for path, text in code(tree, ".cpp", ".h").items():
        for number, line in enumerate(text.splitlines(), 1):
            if found := re.match(r"\s*#\s*define\s+(\w+)", line):
                if not found[1].startswith(("GEMLOUPE_", "DOCTEST_", "_GNU_SOURCE", "_FILE_OFFSET")):
                    yield f"{path}:{number}: the macro {found[1]}"


# ---- What a file says about itself


def contracts(tree):
    """A header opens with its contract; a module of Python with its docstring."""
    for path, text in code(tree, ".h").items():
        if not text.startswith("//"):
            yield f"{path}: a header begins with a comment that is its contract"
        if "#pragma once" not in text:
            yield f"{path}: no #pragma once"
    for path, text in code(tree, ".py").items():
        if text.strip() and '"""' not in first_comment(path, text) and not path.endswith(("conftest.py", "__init__.py")):
            yield f"{path}: a module begins with a docstring"


def long_files(tree):
    """A file past 400 lines says why in its first comment."""
    for path, text in code(tree).items():
        lines = text.count("\n")
        if lines > 400 and not re.search(r"\b(lines|long|length)\b", first_comment(path, text)):
            yield f"{path}: {lines} lines, and its first comment does not say why it is long"


def shape(tree):
    """No line that a page cannot hold, no tabs, no banners, no blanks at the end of a line, a newline at the end of a file."""
    for path, text in code(tree).items():
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > COLUMNS:
                yield f"{path}:{number}: {len(line)} columns"
            if "\t" in line:
                yield f"{path}:{number}: a tab"
            if line != line.rstrip():
                yield f"{path}:{number}: blanks at the end"
            if re.search(r"(//|#)\s*[-=*/#~]{8,}", line):
                yield f"{path}:{number}: a banner"
        if text and not text.endswith("\n"):
            yield f"{path}: no newline at the end"


def finished(tree):
    """Nothing is left for later inside the code: what is missing is said in the README, not in a comment."""
    for path, text in code(tree).items():
        if path.startswith("tests/house/"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if found := re.search(r"\b(TODO|FIXME|XXX|HACK)\b|\bnot implemented\b|\bNotImplementedError\b", line):
                yield f"{path}:{number}: {found[0]}"


def no_machine(tree):
    """No path of somebody's machine."""
    places = "|".join(["work", "tmp", "home", "root", "opt", "Users", "mnt"])
    pattern = re.compile(rf"(?<![\w.$}})\]/~*-])/(?:{places})/[\w.]")
    for path, text in tree.items():
        if path == "LICENSE":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if found := pattern.search(line):
                yield f"{path}:{number}: {line[found.start():found.start() + 40]}"


# ---- Behaviour that can be seen in the text


def quiet(tree):
    """Libraries abort nothing and print nothing; they throw."""
    loud = re.compile(r"\bstd::(cout|cerr|clog|abort|exit|terminate|quick_exit)\b|<iostream>|\bfprintf\(|"
                      r"(?<![\w:.>])(printf|puts|putchar|abort|exit|perror)\(")
    for path, text in code(tree, ".cpp", ".h").items():
        if path.startswith(("kernels/", "csrc/", "python/")):
            bare = without_comments(path, text)
            if found := loud.search(bare):
                yield f"{path}:{bare.count(chr(10), 0, found.start()) + 1}: {found[0]}"


def two_errors(tree):
    """Only the two kinds of error are thrown, Interrupted, and what C++ itself throws where memory ends."""
    for path, text in code(tree, ".cpp", ".h").items():
        if not path.startswith(("kernels/", "csrc/")):
            continue
        bare = without_comments(path, text)
        for found in re.finditer(r"\bthrow\s+([\w:]+)", bare):
            if found[1] not in ("Error", "gemloupe::Error", "std::invalid_argument", "Interrupted", "std::bad_alloc"):
                yield f"{path}:{bare.count(chr(10), 0, found.start()) + 1}: throws {found[1]}"
        if path.startswith("kernels/") and "throw" in re.findall(r"\w+", bare) and not path.startswith("kernels/common/"):
            yield f"{path}: a kernel throws nothing"


def tested(tree):
    """Every room of kernels and csrc is looked at by a test."""
    tests = [text for path, text in code(tree, ".cpp", ".h").items() if path.startswith("tests/")]
    looked_at = {name for text in tests for _, _, name in included(text)}
    for storey in ("kernels", "csrc"):
        for name in sorted({room(path) for path in code(tree, ".cpp", ".h") if path.startswith(storey + "/") and room(path)}):
            if not any(header.startswith(f"{storey}/{name}/") for header in looked_at):
                yield f"{storey}/{name}: no test includes a header of it"


RULES = [storeys, rooms, one_door, variants, python_imports, names, macros, contracts, long_files, shape, finished, no_machine, quiet,
         two_errors, tested]
