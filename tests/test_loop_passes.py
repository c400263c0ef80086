"""Each loop pass, text to text: `tests/filetests/loops/*.mlir`.

    // run: hoist vectorize        passes, left to right; `lower` makes the module from the kernel below
    // target: avx512              avx512, avx2, neon or plain
    // kernel k(...) ...           for `lower`; else a module in MLIR
    // expect:
    // module { ...

`BLESS=1 pytest` writes what came out into the files.
"""

import os
from pathlib import Path

import pytest

from tdsl.compiler import loops_text, target
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.loop_passes.expand_math import expand_math
from tdsl.compiler.loop_passes.hoist import hoist
from tdsl.compiler.loop_passes.parallel import parallel
from tdsl.compiler.loop_passes.vectorize import vectorize
from tdsl.compiler.lower import lower_kernel

FILES = sorted((Path(__file__).parent / "filetests" / "loops").glob("*.mlir"))
PASSES = {"hoist": hoist, "parallel": parallel, "vectorize": vectorize, "expand_math": expand_math}
TARGETS = {"avx512": target.AVX512, "avx2": target.AVX2, "neon": target.NEON, "plain": target.PLAIN}
MARK = "// expect:\n"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_file(path: Path) -> None:
    body, _, expected = path.read_text().partition(MARK)
    said = dict(line[3:].split(": ", 1) for line in body.splitlines() if line.startswith(("// run: ", "// target: ")))
    passes, machine = said["run"].split(), TARGETS[said.get("target", "avx512")]
    if passes[0] == "lower":
        lines = [line[3:] for line in body.splitlines() if line.startswith(("// kernel", "//   "))]
        module = lower_kernel(parse("\n".join(lines)), machine)
    else:
        module = loops_text.parse(body, path.name)
    loops_text.verify(module)
    for name in passes:
        if name != "lower":
            module = PASSES[name](module, machine)
            loops_text.verify(module)
    actual = "".join(f"// {line}\n" for line in loops_text.show(module).splitlines())
    if os.environ.get("BLESS"):
        path.write_text(body + MARK + actual)
    else:
        assert actual == expected


def test_there_are_files() -> None:
    assert FILES
