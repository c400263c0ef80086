"""Reference semantics of tdsl index notation, in NumPy: range inference, bounds policy,
evaluation, and reverse mode.  Slow and small on purpose: it is the oracle for the compiler.

    run(source, env) -> env        executes index statements only (index_def, scan, scatter)
    grad(source, env, out, wrt)    d(sum(out * seed))/d(wrt), by the derived backward
"""

import numpy as np
from lark import Tree

from tdsl.lang.parse import make_parser

PARSER = make_parser()


def parse(text):
    return PARSER.parse(text if text.endswith("\n") else text + "\n", start="file")


ELEM = {  # name: (f, [df/dx_k(args, out)])
    "exp": (np.exp, [lambda a, y: y]),
    "log": (np.log, [lambda a, y: 1 / a[0]]),
    "sqrt": (np.sqrt, [lambda a, y: 0.5 / y]),
    "rsqrt": (lambda x: 1 / np.sqrt(x), [lambda a, y: -0.5 * y**3]),
    "tanh": (np.tanh, [lambda a, y: 1 - y * y]),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), [lambda a, y: y * (1 - y)]),
    "abs": (np.abs, [lambda a, y: np.sign(a[0])]),
    "relu": (lambda x: np.maximum(x, 0), [lambda a, y: (a[0] > 0) * 1.0]),
    "maximum": (
        np.maximum,
        [lambda a, y: (a[0] > a[1]) + 0.5 * (a[0] == a[1]), lambda a, y: (a[1] > a[0]) + 0.5 * (a[0] == a[1])],
    ),
    "minimum": (
        np.minimum,
        [lambda a, y: (a[0] < a[1]) + 0.5 * (a[0] == a[1]), lambda a, y: (a[1] < a[0]) + 0.5 * (a[0] == a[1])],
    ),
    "clamp": (np.clip, [lambda a, y: ((a[0] >= a[1]) & (a[0] <= a[2])) * 1.0, None, None]),
    "floor": (np.floor, [None]),
}


class IndexError_(Exception):
    def __init__(self, code, msg, node, hint=None, label="", other=()):
        super().__init__(msg)
        self.code, self.msg, self.node, self.hint = code, msg, node, hint
        self.label, self.other = label, list(other)  # other: [(tree, text)] secondary places


def txt(n):
    return SRC[0][n.meta.start_pos : n.meta.end_pos] if isinstance(n, Tree) else str(n)


SRC = [""]


# ------------------------------------------------------------------ expression tree -> nodes
class N:
    __slots__ = ("op", "a", "x", "tree", "val", "adj", "cache", "guarded")

    def __init__(s, op, a=(), x=None, tree=None):
        s.op, s.a, s.x, s.tree, s.val, s.adj, s.cache, s.guarded = op, list(a), x, tree, None, None, None, False

    def walk(s):
        yield s
        for c in s.a:
            yield from c.walk()
        if s.op == "read":
            for c in s.x["sub"]:
                yield from c.walk()
            if s.x["else"] is not None:
                yield from s.x["else"].walk()
        if s.op == "reduce" and s.x["guard"] is not None:
            yield from s.x["guard"].walk()


class Builder:
    """Lark tree -> N, resolving names: index variable, or value from env."""

    def __init__(s, env, defining=()):
        s.env, s.defining, s.fresh = env, set(defining), 0
        s.ranges, s.names, s.binder_tree, s.outputs = {}, {}, {}, set()

    def bind(s, name, rng, tree):
        s.fresh += 1
        key = f"{name}.{s.fresh}"
        s.names[key] = name
        s.binder_tree[key] = tree
        if rng is not None:
            s.ranges[key] = rng
        return key

    def const(s, t):
        n = s.build(t, {})
        v = Eval(s, {}).scalar(n)
        return int(v)

    def build(s, t, ix):
        b = lambda u: s.build(u, ix)
        d = t.data if isinstance(t, Tree) else None
        if d == "paren":
            return b(t.children[0])
        if d == "number":
            v = str(t.children[0]).replace("_", "")
            return N("const", x=int(v) if v.isdigit() else float(v), tree=t)
        if d in ("true", "false"):
            return N("const", x=d == "true", tree=t)
        if d == "name":
            n = str(t.children[0])
            if n in ix:
                return N("idx", x=ix[n], tree=t)
            if n == "inf":
                return N("const", x=np.inf, tree=t)
            if n in s.env:
                v = np.asarray(s.env[n])
                if v.ndim:
                    raise IndexError_(
                        "E0405",
                        f"`{n}` has {v.ndim} dimension{'s' * (v.ndim > 1)} but is used without indices",
                        t,
                        f"index it: {n}[{', '.join('ijkl'[: v.ndim])}]",
                    )
                return (
                    N("read", x=dict(name=n, sub=[], **{"else": None}), tree=t)
                    if v.dtype.kind == "f" and not isinstance(s.env[n], float)
                    else N("const", x=s.env[n], tree=t)
                )
            raise IndexError_(
                "E0401",
                f"`{n}` is not defined",
                t,
                f"if `{n}` is meant as an index, bind it: on the left of := , or by a reduction such as sum[{n}]",
            )
        if d in (
            "add",
            "sub",
            "mul",
            "div",
            "floordiv",
            "mod",
            "pow",
            "neg",
            "pos",
            "invert",
            "bit_and",
            "bit_or",
            "bool_and",
            "bool_or",
            "bool_not",
        ):
            return N(d, [b(c) for c in t.children], tree=t)
        if d == "comparison":
            cs = t.children
            parts = [
                N("cmp", [b(cs[i]), b(cs[i + 2])], x=" ".join(map(str, cs[i + 1].children)), tree=t)
                for i in range(0, len(cs) - 2, 2)
            ]
            r = parts[0]
            for p in parts[1:]:
                r = N("bool_and", [r, p], tree=t)
            return r
        if d == "cond_expr":
            a, c, e = t.children
            n = N("where", [b(c), b(a), b(e)], tree=t)
            for br in n.a[1:]:
                for m in br.walk():
                    m.guarded = True
            return n
        if d == "call":
            f = t.children[0]
            if isinstance(f, Tree) and f.data == "attribute" and str(f.children[1]) == "long" and t.children[1] is None:
                return N("long", [b(f.children[0])], tree=t)
            f = str(f.children[0])
            args = t.children[1]
            args = args.children if isinstance(args, Tree) and args.data == "arguments" else [args]
            if f == "where":
                n = N("where", [b(a) for a in args], tree=t)
                for br in n.a[1:]:
                    for m in br.walk():
                        m.guarded = True
                return n
            if f not in ELEM:
                raise IndexError_(
                    "E0406",
                    f"`{f}` is not an elementwise function",
                    t,
                    "compute it before the statement and index the result",
                )
            return N("call", [b(a) for a in args], x=f, tree=t)
        if d == "subscript":
            base, subs, els = t.children
            if base.data != "name":
                raise IndexError_(
                    "E0407",
                    f"`{txt(base)}` is not a tensor name (prototype limit: calls are hoisted in the real thing)",
                    base,
                )
            n = str(base.children[0])
            if n in ix:
                raise IndexError_(
                    "E0404",
                    f"`{n}` is an index here, so `{n}[...]` cannot be a tensor",
                    base,
                    "rename the index or the tensor",
                )
            sub = [b(c) for c in subs.children]
            if n not in s.env and n not in s.defining:
                raise IndexError_("E0401", f"`{n}` is not defined", base)
            if n in s.env and n not in s.defining:
                nd = np.asarray(s.env[n]).ndim
                if nd != len(sub):
                    raise IndexError_(
                        "E0403",
                        f"`{n}` has {nd} dimension{'s' * (nd != 1)} but {len(sub)} ind{'ices' if len(sub) != 1 else 'ex'} {'are' if len(sub) != 1 else 'is'} given",
                        t,
                    )
            return N("read", x=dict(name=n, sub=sub, **{"else": b(els) if els is not None else None}), tree=t)
        if d == "reduction":
            op, binders, body = t.children
            ix2, keys, guard = s.binders(binders, ix)
            g = s.build(guard, ix2) if guard is not None else None
            n = N("reduce", [s.build(body, ix2)], x=dict(op=str(op), keys=keys, guard=g), tree=t)
            if g is not None:
                for m in n.a[0].walk():
                    m.guarded = True
            return n
        raise IndexError_("E0407", f"`{txt(t)}` cannot be used in index notation", t)

    def binders(s, tree, ix):
        ix2, keys, guard = dict(ix), [], None
        for c in tree.children:
            if isinstance(c, Tree) and c.data == "binder":
                nm, lo, hi = c.children
                if str(nm) in ix2:
                    raise IndexError_(
                        "E0417",
                        f"index `{nm}` is bound twice",
                        c,
                        "each reduction needs an index of its own; rename one",
                    )
                k = s.bind(str(nm), (s.const(lo), s.const(hi)) if lo is not None else None, c)
                ix2[str(nm)] = k
                keys.append(k)
            elif c is not None:
                guard = c
        return ix2, keys, guard


# ------------------------------------------------------------------ ranges
def linear(b, n):
    """subscript -> (terms {(key, kind, c): coeff}, const) or None when opaque (gather, clamp, ...)."""
    if n.op == "idx":
        return {(n.x, "i", 1): 1}, 0
    if n.op == "const" and isinstance(n.x, (int, np.integer)):
        return {}, int(n.x)
    if n.op in ("add", "sub"):
        p, q = linear(b, n.a[0]), linear(b, n.a[1])
        if p is None or q is None:
            return None
        sg = 1 if n.op == "add" else -1
        d = dict(p[0])
        for k, c in q[0].items():
            d[k] = d.get(k, 0) + sg * c
        return {k: c for k, c in d.items() if c}, p[1] + sg * q[1]
    if n.op == "neg":
        p = linear(b, n.a[0])
        return p and ({k: -c for k, c in p[0].items()}, -p[1])
    if n.op == "mul":
        p, q = linear(b, n.a[0]), linear(b, n.a[1])
        if p is None or q is None:
            return None
        if q[0]:
            p, q = q, p
        if q[0]:
            return None
        return {k: c * q[1] for k, c in p[0].items() if c * q[1]}, p[1] * q[1]
    if n.op in ("floordiv", "mod"):
        p, q = linear(b, n.a[0]), linear(b, n.a[1])
        if p is None or q is None or q[0] or q[1] <= 0:
            return None
        if not p[0]:
            return {}, (p[1] // q[1] if n.op == "floordiv" else p[1] % q[1])
        if n.op == "mod":
            return {(id(n), "mod", q[1]): 1}, 0
        if len(p[0]) == 1 and p[1] == 0:
            (k, kind, c), co = next(iter(p[0].items()))
            if kind == "i" and co == 1:
                return {(k, "div", q[1]): 1}, 0
    return None


def term_interval(term, r):
    k, kind, c = term
    if kind == "mod":
        return 0, c - 1
    lo, hi = r[k][0], r[k][1] - 1
    return (lo, hi) if kind == "i" else (lo // c, hi // c)


def interval(terms, const, r, skip=None):
    lo = hi = const
    for t, co in terms.items():
        if t == skip:
            continue
        a, z = term_interval(t, r)
        lo += min(a * co, z * co)
        hi += max(a * co, z * co)
    return lo, hi


def infer(b, roots, keys, shape_of):
    """Fill b.ranges for every bound index, by the rounds rule; then prove or schedule bounds checks."""
    r, explicit, why = b.ranges, set(b.ranges), {}
    acc = []
    for root in roots:
        for n in root.walk():
            if n.op == "read":
                shp = shape_of(n.x["name"])
                for p, e in enumerate(n.x["sub"]):
                    acc.append((n, p, e, linear(b, e), None if shp is None else shp[p]))
    for n, p, e, lin, dim in acc:  # 1. bare uses: must agree
        if e.op == "idx" and dim is not None and e.x not in explicit:
            k = e.x
            if k not in r:
                r[k], why[k] = (0, dim), n
            elif r[k][1] != dim:
                nm = b.names[k]
                sh = lambda m: f"{m.x['name']} is {list(shape_of(m.x['name']))}"
                raise IndexError_(
                    "E0410",
                    f"index `{nm}` has two sizes: {r[k][1]} in `{txt(why[k].tree)}` and {dim} in `{txt(n.tree)}`",
                    n.tree,
                    "sizes are never broadcast in index notation; use 0 to read a dimension of size 1"
                    if 1 in (dim, r[k][1])
                    else None,
                    f"{nm} is {dim} here: {sh(n)}",
                    [(why[k].tree, f"{nm} is {r[k][1]} here: {sh(why[k])}")],
                )
    todo = {k for k in keys if k not in r}
    while todo:  # 2. rounds on affine uses
        got = {}
        for n, p, e, lin, dim in acc:
            if lin is None or dim is None or n.x["else"] is not None:
                continue
            un = {t for t in lin[0] if t[1] != "mod" and t[0] in todo}
            if len(un) != 1:
                continue
            t = un.pop()
            co = lin[0][t]
            if any(u[1] != "mod" and u[0] not in r for u in lin[0] if u != t):
                continue
            lo, hi = interval(lin[0], lin[1], r, skip=t)
            if co > 0:
                a, z = -(lo // co), (dim - 1 - hi) // co  # ceil(-lo/co) .. floor
            else:
                a, z = -((dim - 1 - hi) // -co), lo // -co
            if t[1] == "div":
                a, z = a * t[2], z * t[2] + t[2] - 1
            g = got.get(t[0])
            got[t[0]] = (a, z) if g is None else (max(a, g[0]), min(z, g[1]))
            why[t[0]] = n
        if not got:
            k = sorted(todo)[0]
            nm = b.names[k]
            amb = [n for n, p, e, lin, dim in acc if lin and any(t[0] == k for t in lin[0])]
            if amb and amb[0].x["else"] is None:
                o = sorted({b.names[t[0]] for t in linear_of(b, amb[0], k) if t[1] != "mod"})
                raise IndexError_(
                    "E0411",
                    f"cannot infer the ranges of {' and '.join('`' + x + '`' for x in o)}: they appear only together, in `{txt(amb[0].tree)}`",
                    amb[0].tree,
                    f"give one of them: `{nm} in 0:n`",
                )
            raise IndexError_(
                "E0412",
                f"the range of index `{nm}` is not known" + (": its only use is padded" if amb else ""),
                b.binder_tree[k] if b.binder_tree.get(k) is not None else roots[0].tree,
                f"write `{nm} in 0:n`",
            )
        for k, (a, z) in got.items():
            nm = b.names[k]
            if a > 0:
                out = k in b.outputs
                raise IndexError_(
                    "E0413",
                    f"`{txt(why[k].tree)}` reads before the start when {nm} = 0",
                    why[k].tree,
                    (
                        f"an output index starts at 0: shift the subscripts so that {nm} = 0 is the first valid element, or pad the read: `else 0.0`"
                        if out
                        else f"give the range: `{nm} in {a}:{z + 1}`"
                    ),
                )
            if z < 0:
                raise IndexError_("E0414", f"index `{nm}` has an empty range", why[k].tree)
            r[k] = (0, z + 1)
        todo -= set(got)
    for n, p, e, lin, dim in acc:  # 3. bounds
        if n.x["else"] is not None or dim is None:
            continue
        if lin is not None:
            lo, hi = interval(lin[0], lin[1], r)
            if 0 <= lo and hi < dim:
                continue
            if not n.guarded and "mod" not in {t[1] for t in lin[0]}:
                bad = lo if lo < 0 else hi
                raise IndexError_(
                    "E0415",
                    f"`{txt(n.tree)}` reads position {bad} of dimension {p}, which has size {dim}",
                    n.tree,
                    "narrow the range, guard it, or pad it: `else 0.0`",
                )
        n.guarded = True  # checked per element, when it is read


def linear_of(b, n, k):
    for e in n.x["sub"]:
        l = linear(b, e)
        if l and any(t[0] == k for t in l[0]):
            return l[0]
    return {}


# ------------------------------------------------------------------ evaluation and reverse mode
class Eval:
    def __init__(s, b, env, fixed=None):
        s.b, s.env, s.axes, s.fixed = b, env, {}, fixed or {}

    def first_bad(s, sub, shape, need):
        vs = np.broadcast_arrays(*sub, need)
        at = tuple(np.argwhere(~vs[-1])[0])
        return "[" + ", ".join(str(int(v[at])) for v in vs[:-1]) + "]"

    def scalar(s, n):
        s.na = 0
        return np.asarray(s.ev(n, None)).item()

    def setup(s, keys):
        s.axes = {k: i for i, k in enumerate(k for k in keys if k not in s.fixed)}
        s.na = len(s.axes)

    def shape(s):
        sh = [0] * s.na
        for k, i in s.axes.items():
            sh[i] = s.b.ranges[k][1] - s.b.ranges[k][0]
        return sh

    def ev(s, n, live):
        v = s.ev_(n, live)
        n.val = v
        return v

    def ev_(s, n, live):  # live: boolean mask of points at which n is evaluated (None = all)
        E = lambda m: s.ev(m, live)
        o = n.op
        if o == "const":
            return np.asarray(n.x)
        if o == "idx":
            if n.x in s.fixed:
                return np.asarray(s.fixed[n.x])
            lo, hi = s.b.ranges[n.x]
            sh = [1] * s.na
            sh[s.axes[n.x]] = hi - lo
            return np.arange(lo, hi).reshape(sh)
        if o == "read":
            T = np.asarray(s.env[n.x["name"]])
            sub = [E(e) for e in n.x["sub"]]
            ok = np.asarray(True)
            for p, v in enumerate(sub):
                ok = ok & (v >= 0) & (v < T.shape[p])
            need = ok if live is None else ok | ~live
            if n.x["else"] is None and not need.all():
                raise IndexError_(
                    "E0502",
                    f"`{txt(n.tree)}` reads position {s.first_bad(sub, T.shape, need)} outside `{n.x['name']}`, which is {list(T.shape)}",
                    n.tree,
                    "clamp the index, guard the read, or pad it: `else 0.0`",
                )
            sub = [np.where(ok, v, 0) for v in sub]
            n.cache = (sub, ok)
            v = T[tuple(sub)] if sub else T
            if n.x["else"] is not None:
                v = np.where(ok, v, s.ev(n.x["else"], ~ok if live is None else live & ~ok))
            return v
        if o == "where":
            c = E(n.a[0])
            L = np.asarray(True) if live is None else live
            return np.where(c, s.ev(n.a[1], L & c), s.ev(n.a[2], L & ~c))
        if o == "call":
            return ELEM[n.x][0](*[E(c) for c in n.a])
        if o == "long":
            return E(n.a[0]).astype(np.int64)
        if o == "cmp":
            p, q = E(n.a[0]), E(n.a[1])
            return {
                "<": np.less,
                ">": np.greater,
                "<=": np.less_equal,
                ">=": np.greater_equal,
                "==": np.equal,
                "!=": np.not_equal,
            }[n.x](p, q)
        if o == "reduce":
            g = None if n.x["guard"] is None else E(n.x["guard"])
            L = live if g is None else (g if live is None else live & g)
            body = s.ev(n.a[0], L)
            ax = tuple(s.axes[k] for k in n.x["keys"])
            sh = list(
                np.broadcast_shapes(
                    body.shape if body.ndim == s.na else (1,) * s.na,
                    () if g is None else (g.shape if g.ndim == s.na else (1,) * s.na),
                )
            )
            full = s.shape()
            for a in ax:
                sh[a] = full[a]
            B = np.broadcast_to(body, sh)
            M = np.broadcast_to(True if g is None else g, sh)
            n.cache = (ax, B, M)
            op = n.x["op"]
            if op in ("sum", "mean"):
                S = np.where(M, B, 0).sum(ax, keepdims=True)
                return S if op == "sum" else S / M.sum(ax, keepdims=True)
            if op == "prod":
                return np.where(M, B, 1).prod(ax, keepdims=True)
            if op in ("max", "min"):
                iden = (
                    (-np.inf if op == "max" else np.inf)
                    if B.dtype.kind == "f"
                    else (np.iinfo(B.dtype).min if op == "max" else np.iinfo(B.dtype).max)
                )
                return getattr(np.where(M, B, iden), op)(ax, keepdims=True)
            if op == "any":
                return (M & B.astype(bool)).any(ax, keepdims=True)
            if op == "all":
                return (~M | B.astype(bool)).all(ax, keepdims=True)
            if op == "logsumexp":
                W = np.where(M, B, -np.inf)
                m = W.max(ax, keepdims=True)
                m = np.where(np.isfinite(m), m, 0)
                with np.errstate(divide="ignore"):
                    return m + np.log(np.exp(W - m).sum(ax, keepdims=True))
            if op in ("argmax", "argmin"):
                W = np.where(M, B, -np.inf if op == "argmax" else np.inf)
                return getattr(W, op)(ax[0], keepdims=True) + s.b.ranges[n.x["keys"][0]][0]
        p = [E(c) for c in n.a]
        if o == "add":
            return p[0] + p[1]
        if o == "sub":
            return p[0] - p[1]
        if o == "mul":
            return p[0] * p[1]
        if o == "div":
            return np.true_divide(*p)
        if o == "floordiv":
            return p[0] // p[1]
        if o == "mod":
            return p[0] % p[1]
        if o == "pow":
            return np.power(p[0], p[1]) if p[1].dtype.kind != "i" or p[0].dtype.kind == "f" else p[0] ** p[1]
        if o == "neg":
            return -p[0]
        if o == "pos":
            return p[0]
        if o in ("bool_and", "bit_and"):
            return p[0] & p[1]
        if o in ("bool_or", "bit_or"):
            return p[0] | p[1]
        if o in ("bool_not", "invert"):
            return ~p[0]
        raise NotImplementedError(o)

    # reverse: g is broadcastable to the full iteration shape of n's value
    def back(s, n, g, grads):
        o = n.op
        if o in (
            "const",
            "idx",
            "cmp",
            "long",
            "bool_and",
            "bool_or",
            "bool_not",
            "bit_and",
            "bit_or",
            "invert",
            "floordiv",
            "mod",
        ):
            return
        R = lambda c, gg: s.back(c, gg, grads)
        v = [c.val for c in n.a]
        if o == "read":
            sub, ok = n.cache
            nm = n.x["name"]
            if n.x["else"] is not None:
                R(n.x["else"], np.where(ok, 0, g))
            if nm in grads:
                gg = np.where(ok, g, 0)  # gather -> scatter-add; padded points drop out
                if not sub:
                    grads[nm] += gg.sum()
                    return
                sh = np.broadcast_shapes(*[x.shape for x in sub], gg.shape)
                np.add.at(grads[nm], tuple(np.broadcast_to(x, sh) for x in sub), np.broadcast_to(gg, sh))
            return
        if o == "add":
            R(n.a[0], g)
            R(n.a[1], g)
        elif o == "sub":
            R(n.a[0], g)
            R(n.a[1], -g)
        elif o == "neg":
            R(n.a[0], -g)
        elif o == "pos":
            R(n.a[0], g)
        elif o == "mul":
            R(n.a[0], g * v[1])
            R(n.a[1], g * v[0])
        elif o == "div":
            R(n.a[0], g / v[1])
            R(n.a[1], -g * n.val / v[1])
        elif o == "pow":
            R(n.a[0], g * v[1] * np.power(v[0] * 1.0, v[1] - 1.0) if n.a[1].op == "const" else g * v[1] * n.val / v[0])
            if n.a[1].op != "const":
                R(n.a[1], g * n.val * np.log(v[0]))
        elif o == "where":
            R(n.a[1], np.where(v[0], g, 0))
            R(n.a[2], np.where(v[0], 0, g))
        elif o == "call":
            for c, df in zip(n.a, ELEM[n.x][1]):
                if df is not None:
                    R(c, np.where(g == 0, 0, g * df(v, n.val)))
        elif o == "reduce":
            ax, B, M = n.cache
            op = n.x["op"]
            sh = np.broadcast_shapes(np.shape(g), B.shape)
            # each output element's adjoint, once per point of the reduction
            gg = np.broadcast_to(g, sh)
            B, M = np.broadcast_to(B, sh), np.broadcast_to(M, sh)
            if op == "sum":
                R(n.a[0], np.where(M, gg, 0))
            elif op == "mean":
                R(n.a[0], np.where(M, gg / np.maximum(M.sum(ax, keepdims=True), 1), 0))
            elif op in ("max", "min"):
                hit = M & (B == n.val)
                R(n.a[0], np.where(hit, gg / np.maximum(hit.sum(ax, keepdims=True), 1), 0))
            elif op == "logsumexp":
                R(n.a[0], np.where(M, gg * np.exp(np.where(M, B - n.val, 0)), 0))
            elif op == "prod":  # exact with zeros: product of the others
                W = np.moveaxis(np.where(M, B, 1.0), ax, range(-len(ax), 0))
                f = W.reshape(*W.shape[: W.ndim - len(ax)], -1)
                ex = np.ones_like(f)
                ex[..., 1:] = np.cumprod(f, -1)[..., :-1]
                rv = np.ones_like(f)
                rv[..., :-1] = np.cumprod(f[..., ::-1], -1)[..., ::-1][..., 1:]
                others = np.moveaxis((ex * rv).reshape(W.shape), range(-len(ax), 0), ax)
                R(n.a[0], np.where(M, gg * others, 0))
            elif op in ("argmax", "argmin", "any", "all"):
                pass
        else:
            raise NotImplementedError(o)


# ------------------------------------------------------------------ statements
def lhs_of(t):
    if not (isinstance(t, Tree) and t.data == "subscript"):
        raise IndexError_("E0402", "the left of := must be name[indices]", t)
    base, subs, _ = t.children
    out = []
    for c in subs.children:
        if c.data == "name":
            out.append((str(c.children[0]), None, c))
        elif (
            c.data == "slice"
            and c.children[0] is not None
            and c.children[0].data == "comparison"
            and str(c.children[0].children[1].children[0]) == "in"
        ):
            out.append((str(c.children[0].children[0].children[0]), (c.children[0].children[2], c.children[1]), c))
        else:
            raise IndexError_(
                "E0402",
                f"`{txt(c)}` on the left of := is not an index",
                c,
                "every element is written once: use a new index on the left and put the arithmetic on the right",
            )
    return str(base.children[0]), out


def plan_def(t, env, defining=(), outer=None):
    name, idx = lhs_of(t.children[0])
    b = Builder(env, defining)
    ix = dict(outer or {})
    keys = []
    for nm, rng, tree in idx:
        if outer and nm in outer:
            keys.append(outer[nm])
            continue
        if nm != "_" and nm in [b.names[k] for k in keys if k in b.names]:
            raise IndexError_("E0402", f"index `{nm}` appears twice on the left", tree)
        k = b.bind(nm, (0, 1) if nm == "_" else (b.const(rng[0]), b.const(rng[1])) if rng else None, tree)
        if nm != "_" and rng and b.ranges[k][0] != 0:
            raise IndexError_("E0416", f"an output index starts at 0, but `{nm}` starts at {b.ranges[k][0]}", tree)
        ix[nm] = k
        keys.append(k)
        b.outputs.add(k)
    return name, b, ix, keys, t.children[1]


TAPE = []


def run(source, env):
    SRC[0] = source if source.endswith("\n") else source + "\n"
    TAPE.clear()
    env = dict(env)
    for st in parse(source).children:
        stmt(st, env)
    return env


def stmt(st, env):
    shape_of = lambda n: np.shape(env[n]) if n in env else None
    if st.data == "index_def":
        name, b, ix, keys, rhs = plan_def(st, env)
        root = b.build(rhs, ix)
        allk = list(b.names)
        infer(b, [root], allk, shape_of)
        ev = Eval(b, env)
        ev.setup(allk)
        v = ev.ev(root, None)
        full = ev.shape()
        outsh = [full[ev.axes[k]] for k in keys]
        v = np.broadcast_to(v, [f if i < len(keys) else 1 for i, f in enumerate(full)]).reshape(outsh)
        env2 = dict(env)
        env[name] = v.copy()
        TAPE.append(("def", name, ev, root, keys, env2))
    elif st.data == "scatter_stmt":
        body = st.children[2].children
        b = Builder(env)
        ix, keys, guard = b.binders(st.children[1], {})
        g = b.build(guard, ix) if guard is not None else None
        for au in body:
            tgt, op, rhs = au.children
            name = str(tgt.children[0].children[0])
            if name not in env:
                raise IndexError_(
                    "E0420",
                    f"scatter needs a tensor `{name}` to scatter into",
                    tgt,
                    f"create it first: {name} = zeros(...)",
                )
            subs = [b.build(c, ix) for c in tgt.children[1].children]
            root = b.build(rhs, ix)
            fake = N("read", x=dict(name=name, sub=subs, **{"else": None}), tree=tgt)
            if g is not None:
                fake.guarded = True
            infer(b, [fake, root] + ([g] if g is not None else []), list(b.names), shape_of)
            ev = Eval(b, env)
            ev.setup(list(b.names))
            live = None if g is None else ev.ev(g, None)
            v = ev.ev(root, live)
            sub = [ev.ev(e, live) for e in subs]
            T = np.array(env[name], copy=True)
            sh = [f if b.names and k in keys else 1 for k, f in zip(list(b.names), ev.shape())]
            M = np.broadcast_to(True if live is None else live, sh)
            sub = [np.broadcast_to(x, sh)[M] for x in sub]
            V = np.broadcast_to(v, sh)[M]
            for p, x in enumerate(sub):
                if ((x < 0) | (x >= T.shape[p])).any():
                    raise IndexError_(
                        "E0502",
                        f"`{txt(tgt)}` writes position {x[(x < 0) | (x >= T.shape[p])][0]} of dimension {p}, which has size {T.shape[p]}",
                        tgt,
                    )
            {"+=": np.add, "max=": np.maximum, "min=": np.minimum}[str(op)].at(T, tuple(sub), V)
            env2 = dict(env)
            old = env[name]
            env[name] = T
            TAPE.append(("scatter", name, ev, root, (str(op), sub, M, sh, old, V, T), env2))
    elif st.data == "scan_stmt":
        defs = [d for d in st.children[2].children]
        names = [lhs_of(d.children[0])[0] for d in defs]
        tn = str(st.children[1].children[0].children[0])
        bt = Builder(env)
        tix, tkeys, _ = bt.binders(st.children[1], {})
        tk = tkeys[0]
        plans, known = [], {}
        for d in defs:
            name, b, ix, keys, rhs = plan_def(d, env, names, {tn: tk})
            b.names[tk] = tn
            b.binder_tree[tk] = st.children[1]
            if tk in bt.ranges:
                b.ranges[tk] = bt.ranges[tk]
            root = b.build(rhs, ix)
            plans.append((name, b, keys, root))
        dirs = set()
        pos = {n: i for i, n in enumerate(names)}
        for si, (name, b, keys, root) in enumerate(plans):
            tpos = {p[0]: p[2].index(tk) for p in plans}
            for n in root.walk():
                if n.op == "read" and n.x["name"] in names:
                    l = linear(b, n.x["sub"][tpos[n.x["name"]]])
                    if (
                        l is None
                        or l[0].get((tk, "i", 1)) != 1
                        or len(l[0]) != 1
                        or l[1] == 0
                        and pos[n.x["name"]] >= si
                    ):
                        raise IndexError_(
                            "E0421",
                            f"`{txt(n.tree)}` does not read an earlier step of scan[{tn}]",
                            n.tree,
                            f"read {tn} - 1 (or {tn} + 1), or a tensor defined earlier in the block",
                        )
                    if l[1]:
                        dirs.add(l[1] > 0)
        if len(dirs) > 1:
            raise IndexError_("E0422", f"scan[{tn}] reads both earlier and later steps", st)
        for _ in range(len(plans) + 1):  # shapes: a statement at a time, reads of block tensors give none until known
            for name, b, keys, root in plans:
                if name in known:
                    continue
                try:
                    infer(b, [root], list(b.names), lambda n: known.get(n) if n in names else shape_of(n))
                except IndexError_ as e:
                    if e.code in ("E0411", "E0412") and len(known) < len(plans) - 1:
                        continue
                    raise
                known[name] = [b.ranges[k][1] for k in keys]
        T = plans[0][1].ranges[tk][1]
        order = range(T) if True not in dirs else range(T - 1, -1, -1)
        steps = []
        for name, *_ in plans:
            env[name] = np.zeros(known[name])
        for t in order:
            for name, b, keys, root in plans:
                import copy

                r2 = copy.deepcopy(root)
                ev = Eval(b, env, {tk: t})
                ev.setup(list(b.names))
                v = ev.ev(r2, None)
                full = ev.shape()
                inner = [k for k in keys if k != tk]
                v = np.broadcast_to(v, [f if k in inner else 1 for k, f in zip(ev.axes, full)]).reshape(
                    [full[ev.axes[k]] for k in inner]
                )
                at = tuple(t if k == tk else slice(None) for k in keys)
                env[name][at] = v
                steps.append((name, ev, r2, at, inner))
        TAPE.append(("scan", names, steps))
    else:
        raise IndexError_("E0000", "not an index statement", st)


def grad(source, env, out, wrt, seed=None):
    e = run(source, env)
    final = {k: v for k, v in e.items()}
    grads = {k: np.zeros(np.shape(v)) for k, v in final.items() if np.asarray(v).dtype.kind == "f"}
    grads[out] += 1.0 if seed is None else seed
    for rec in reversed(TAPE):
        if rec[0] == "def":
            _, name, ev, root, keys, env2 = rec
            if name not in grads:
                continue  # an integer tensor: no gradient
            g = grads[name]
            grads[name] = np.zeros(np.shape(env2.get(name, 0.0))) if name in env2 else np.zeros_like(g)
            sh = ev.shape()
            gs = g.reshape([sh[i] if k in keys else 1 for i, k in enumerate(ev.axes)]) if ev.axes else g
            ev.back(root, gs, grads)
        elif rec[0] == "scatter":
            _, name, ev, root, (op, sub, M, sh, old, V, T), env2 = rec
            g = grads[name]
            if op == "+=":
                gv = g[tuple(sub)]
                gold = g
            else:
                win = V == T[tuple(sub)]
                cnt = np.zeros_like(T)
                np.add.at(cnt, tuple(sub), win * 1.0)
                cnt += old == T
                gv = np.where(win, g[tuple(sub)] / cnt[tuple(sub)], 0)
                gold = np.where(old == T, g / np.maximum(cnt, 1), 0)
            grads[name] = gold.copy()
            full = np.zeros(sh)
            full[M] = gv
            ev.back(root, full, grads)
        else:
            for name, ev, root, at, inner in reversed(rec[2]):
                g = grads[name][at]
                sh = ev.shape()
                gs = (
                    np.asarray(g).reshape([sh[i] if k in inner else 1 for i, k in enumerate(ev.axes)])
                    if ev.axes
                    else np.asarray(g)
                )
                ev.back(root, gs, grads)
    return {w: grads[w] for w in wrt}
