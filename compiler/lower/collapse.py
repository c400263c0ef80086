"""Adjacent axes that every read and every output walks together become one: longer loops, more equal kernels."""

from __future__ import annotations

from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    Statement,
    rewrite,
    walk,
)


def collapse(kernel: Kernel) -> Kernel:
    """The kernel with output axes k and k + 1 merged wherever all statements allow it."""
    if not all(isinstance(s, Definition) for s in kernel.body):
        return kernel
    k = 0
    while True:
        rank = len(kernel.body[0].binders)
        if k + 1 >= rank or any(len(s.binders) != rank for s in kernel.body):
            return kernel
        merged = _merge(kernel, k)
        if merged is None:
            k += 1
        else:
            kernel = merged


def _merge(kernel: Kernel, k: int) -> Kernel | None:
    shapes = {p.name: p.shape for p in kernel.params}
    names = {s.name for s in kernel.body if isinstance(s, Definition)}
    where: dict[str, int | None] = {}  # param -> which dimension merges with the next, or None: reads neither axis
    for s in kernel.body:
        a, b = s.binders[k], s.binders[k + 1]
        if not (isinstance(a.hi, int) and isinstance(b.hi, int) and a.lo == 0 and b.lo == 0):
            return None
        assert isinstance(s, Definition)
        uses = 0
        for e in walk(s.expr):
            if isinstance(e, Axis) and e.name in (a.name, b.name):
                uses += 1
            if not isinstance(e, Read):
                continue
            at = _pair(e, a.name, b.name)
            if at is not None:
                uses -= 2
                if e.tensor in names:
                    if at != k:
                        return None
                elif shapes[e.tensor][at + 1] != b.hi or e.fill is not None and shapes[e.tensor][at] != a.hi:
                    return None
            elif e.tensor in names:
                return None
            if e.tensor not in names and where.setdefault(e.tensor, at) != at:
                return None
        if uses:
            return None
    return _apply(kernel, k, where)


def _pair(e: Read, a: str, b: str) -> int | None:
    for d in range(len(e.index) - 1):
        first, second = e.index[d], e.index[d + 1]
        if isinstance(first, Axis) and isinstance(second, Axis) and (first.name, second.name) == (a, b):
            return d
    return None


def _apply(kernel: Kernel, k: int, where: dict[str, int | None]) -> Kernel:
    params = []
    for p in kernel.params:
        d = where.get(p.name)
        if d is None:
            params.append(p)
            continue
        n, m = p.shape[d], p.shape[d + 1]
        assert isinstance(n, int) and isinstance(m, int)
        params.append(Param(p.name, p.dtype, (*p.shape[:d], n * m, *p.shape[d + 2 :]), p.is_number))
    body: list[Statement] = []
    for s in kernel.body:
        assert isinstance(s, Definition)
        a, b = s.binders[k], s.binders[k + 1]
        assert isinstance(a.hi, int) and isinstance(b.hi, int)

        def change(e: Expr, a: Binder = a, b: Binder = b) -> Expr | None:
            if isinstance(e, Read):
                d = _pair(e, a.name, b.name)
                if d is not None:
                    return Read(e.tensor, (*e.index[: d + 1], *e.index[d + 2 :]), e.dtype, e.fill, e.checked)
            return None

        binders = (*s.binders[:k], Binder(a.name, 0, a.hi * b.hi), *s.binders[k + 2 :])
        body.append(Definition(s.name, binders, rewrite(s.expr, change)))
    return Kernel(kernel.name, tuple(params), tuple(body), kernel.outputs)
