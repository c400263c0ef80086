"""How each op of loops IR is written as MLIR: the tables that printing, parsing and checking share.

    form        text after the op's name                                      result type
    same        %a, %b : T                                                    T
    compare     predicate, %a, %b : T                                         i1, or a vector of it
    convert     %a : T to R                                                   R
    plain       "name"(%a, ...) {attrs} : (T, ...) -> R                       R, MLIR's generic form

Ops that MLIR's dialects do not have, or have with other types, are written under `tdsl.`.
"""

from __future__ import annotations

import re

from tdsl.compiler.loops import F32, F64, I1, I8, I16, I32, I64, INDEX, LType, MemRef, Scalar, Vector
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.source import IRError

_ARITH_BINARY = (
    "addi subi muli floordivsi remsi divsi andi ori xori shli shrsi shrui maxsi minsi maxui minui "
    "addf subf mulf divf maximumf minimumf maxnumf minnumf"
)
_MATH_SAME = (
    "exp expm1 log log1p log2 exp2 sin cos tan tanh erf rsqrt sqrt floor ceil roundeven trunc absf absi "
    "copysign atan2 powf ipowi fma"
)
# name -> number of operands, all of the result's type
SAME: dict[str, int] = {f"arith.{n}": 2 for n in _ARITH_BINARY.split()}
SAME |= {
    f"math.{n}": {"copysign": 2, "atan2": 2, "powf": 2, "ipowi": 2, "fma": 3}.get(n, 1) for n in _MATH_SAME.split()
}
SAME["arith.negf"] = 1

COMPARE = {
    "arith.cmpi": frozenset("eq ne slt sle sgt sge ult ule ugt uge".split()),
    "arith.cmpf": frozenset("false oeq ogt oge olt ole one ord ueq ugt uge ult ule une uno true".split()),
}
CONVERT = frozenset(
    f"arith.{n}" for n in "index_cast sitofp uitofp fptosi extsi extui trunci extf truncf bitcast".split()
) | {"vector.broadcast"}

# Ops in generic form: the name in loops IR -> the name in the text. Only arith.remf and vector.gather are MLIR's own.
PLAIN = {
    "arith.remf": "arith.remf",
    "math.sigmoid": "tdsl.sigmoid",
    "tdsl.philox": "tdsl.philox",
    "memref.subview_offset": "tdsl.subview_offset",
    "vector.gather": "vector.gather",
    "tdsl.report": "tdsl.report",
}
PLAIN |= {f"tdsl.{name}": f"tdsl.{name}" for name in SPECIAL}
PLAIN_BACK = {text: name for name, text in PLAIN.items()}
REDUCTIONS = frozenset("add mul maximumf minimumf maxsi minsi maxui minui and or xor".split())

_SCALARS = {t.name: t for t in (INDEX, I1, I8, I16, I32, I64, F32, F64)}
_TYPE = re.compile(r"(?:vector<(\d+)x(\w+)>|memref<\?x(\w+)>|(\w+))\Z")


def parse_type(text: str) -> LType:
    """The type written so.

    >>> str(parse_type("vector<16xf32>"))
    'vector<16xf32>'
    """
    found = _TYPE.match(text)
    if found is None or next(filter(None, found.groups()[1:])) not in _SCALARS:
        raise IRError(f"no type of loops IR: {text}")
    lanes, lane, element, scalar = found.groups()
    if lanes is not None:
        return Vector(int(lanes), _SCALARS[lane])
    return MemRef(_SCALARS[element]) if element is not None else _SCALARS[scalar]


def element_of(t: LType) -> Scalar:
    """The scalar a type is made of."""
    return t if isinstance(t, Scalar) else t.element
