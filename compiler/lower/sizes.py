"""Run-time sizes that lowering makes of others: the size of a merged axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import Expr, SizeOf, call, of_size, rewrite

GUESS = 64  # what a run-time size is taken for when costs are weighed


@dataclass(frozen=True, slots=True)
class Product(Sym):
    """The size a * b, of which one is known at run time only."""

    a: Size
    b: Size

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


def product(a: Size, b: Size) -> Size:
    """The size of an axis that is two merged.

    >>> product(4, 8), product(Sym("s0"), 8)
    (32, s0x8)
    """
    if not isinstance(a, Sym) and not isinstance(b, Sym):
        return a * b
    return Product(f"{a}x{b}", a, b)


def guess(n: Size) -> int:
    if isinstance(n, Product):
        return guess(n.a) * guess(n.b)
    return GUESS if isinstance(n, Sym) else n


def base_sizes(sizes: Iterable[Sym]) -> tuple[Sym, ...]:
    """The sizes that a kernel is given, of those it uses, in order of first appearance."""
    found: dict[Sym, None] = {}
    stack: list[Size] = list(reversed(list(sizes)))
    while stack:
        n = stack.pop()
        if isinstance(n, Product):
            stack += [n.b, n.a]
        elif isinstance(n, Sym):
            found[n] = None
    return tuple(found)


def in_base_sizes(e: Expr) -> Expr:
    """An expression of sizes in terms of those that the kernel is given."""

    def change(x: Expr) -> Expr | None:
        if isinstance(x, SizeOf) and isinstance(x.sym, Product):
            return in_base_sizes(call("mul", of_size(x.sym.a), of_size(x.sym.b)))
        return None

    return rewrite(e, change)
