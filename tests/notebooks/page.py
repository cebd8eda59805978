"""The README's Python page: its blocks, and `python tests/notebooks/page.py` to write their real output below them."""
import contextlib
import io
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:```text\n(.*?)```\n)?", flags=re.S)


def tidy(text: str) -> str:
    """A path is the reader's own, and blanks at the end of a line are nobody's."""
    return "\n".join(re.sub(r"/\S*/(?=gemma-3)", "", line).rstrip() for line in text.rstrip().splitlines())


def executed(code: str, names: dict) -> str:
    """What a block prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), names)
    return tidy(printed.getvalue())


def main() -> None:
    os.chdir(ROOT)
    names: dict = {}
    text = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(lambda found: f"```python\n{found[1]}```\n```text\n{executed(found[1], names)}\n```\n", text),
                      encoding="utf-8")


if __name__ == "__main__":
    main()
