"""The code of the documentation runs and prints what it says; generated pages are what their generators write.

In a page, ```python blocks are one program from top to bottom and ```tdsl blocks are scripts; a ```text block that
follows holds what was printed. ```console blocks are commands for a person.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from tree import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[int, str, str, str | None]]:
    """(line, language, code, what it prints) of each block of code."""
    text = page.read_text(encoding="utf-8")
    found = [(m.start(), m[1], m[2]) for m in FENCE.finditer(text)]
    for k, (at, language, code) in enumerate(found):
        after = found[k + 1] if k + 1 < len(found) else (0, "", "")
        yield text.count("\n", 0, at) + 1, language, code, after[2] if after[1] == "text" else None


def printed_by_script(code: str, folder: Path) -> str:
    script = folder / "page.tdsl"
    script.write_text(code, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "tdsl", "run", str(script)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_code_runs(page: Path, tmp_path: Path) -> None:
    names: dict[str, object] = {"__name__": page.stem}
    for line, language, code, expected in blocks(page):
        assert language in ("python", "tdsl", "text", "console"), f"{page.name}:{line}: what is this block?"
        if language in ("text", "console"):
            continue
        if language == "tdsl":
            printed = printed_by_script(code, tmp_path)
        else:
            out = StringIO()
            with redirect_stdout(out):
                exec(compile("\n" * line + code, str(page), "exec"), names)
            printed = out.getvalue()
        assert expected is None or printed.strip() == expected.strip(), f"{page.name}:{line} prints\n{printed}"


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "examples" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_examples_are_described() -> None:
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples").iterdir():
        assert path.suffix not in (".py", ".tdsl") or f"`{path.name}`" in text, f"examples/README.md lacks {path.name}"


@pytest.mark.peer
def test_the_comparison_with_pytorch_is_current() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("expecttest")
    if not torch.__version__.startswith("2.13."):
        pytest.skip("the page is about PyTorch 2.13")
    import peer_surface

    assert peer_surface.PAGE.read_text(encoding="utf-8") == peer_surface.page(), "run python tests/peer_surface.py"
