"""The long text behind an error code: `tdsl explain E0410`. The first line is the headline."""

PAGES: dict[str, str] = {
    "E0103": """a Python statement that tdsl does not have
  tdsl is a subset of Python's statements: no classes, exceptions that are caught, decorators, generators, globals.
  Declare a `model`, a `struct` or a `function`; stop a run with `assert` or `error("...")`.""",
    "E0201": """a name that is not defined
  Names are looked up in the function, the functions around it, the file, and the built-in names. An index is no
  variable: it exists on the right of its definition or inside its reduction only.""",
    "E0202": """a variable that is read before it has a value
  A name that is assigned anywhere in a function is local to it everywhere. There is no `global`.""",
    "E0301": """an argument that does not fit its annotation
  A name in a shape is bound by the first argument that uses it; every later use must agree.

      def project(x: f32[B, T, C], w: f32[C, D]) -> f32[B, T, D]:
          return x @ w

      project(randn(4, 10, 32), randn(48, 64))       # C is 32 from x, and 48 from w""",
    "E0302": """a result that does not fit its annotation
  The sizes are those that the arguments gave.""",
    "E0401": """a name in index notation that is neither a variable nor an index
  An index is bound on the left of `:=`, or in the brackets of a reducer, and nowhere else.

      y[i] := sum[k] A[i, k] * B[k, j]               # j is not bound
      y[i, j] := sum[k] A[i, k] * B[k, j]            # so it is""",
    "E0402": """the left side of a definition holds new indices only
  `y[2 * i] := x[i]` leaves elements of y without a value. Say what each element is instead:

      y[j in 0:2 * n] := x[j // 2]""",
    "E0405": """a tensor with dimensions where one element is meant
  There is no broadcasting in index notation: read an element, `b[j]`.""",
    "E0406": """a function that is not elementwise, applied to one element
  softmax(x[i]) has no meaning for one element. Call it before: `p = softmax(x, dim=-1)`, then read `p[i]`.""",
    "E0410": """an index with two sizes
  Where an index stands alone in a subscript its range is that dimension, and all such places must agree.

      C[i, j] := sum[k] A[i, k] * B[k, j]            # A is [3, 4], B is [5, 2]: k is 4 and 5

  A size of 1 is not stretched. To read a part, give the range: sum[k in 0:4].""",
    "E0411": """ranges that cannot be inferred
  In `x[i + k]` alone, any i may be longer when k is shorter. Give one of the ranges: `y[i in 0:n] := ...`.""",
    "E0412": """an index without a range
  It is in no plain read as a whole subscript, and padded reads say nothing about ranges: write `i in 0:n`.""",
    "E0413": """a read before the start
  An output index starts at 0. Shift the subscripts so that 0 is the first valid element, or pad the read.""",
    "E0415": """a read outside a tensor
  It is known before the run that some position is outside. Shorten the range, guard the reduction
  (`sum[k if k < n]`) or pad the read (`x[i + k else 0.0]`).""",
    "E0416": """a range of an output index that does not start at 0""",
    "E0417": """an index that is bound twice
  An index of a reduction may not have the name of one around it.""",
    "E0418": """`=` where `:=` is meant
  `C[i, j] = v` assigns one element; `C[i, j] := e` defines a tensor by its elements.""",
    "E0419": """an index that is used outside its reduction
  The body of a reduction is a product, as with a sigma sign: `all[i] a[i] == b[i]` is `(all[i] a[i]) == b[i]`.
  Put the comparison in parentheses.""",
    "E0420": """a scatter adds into a tensor that exists

  h = zeros(bins)
  scatter[n]: h[b[n]] += 1.0

  Its size is never guessed. The line gives the name `h` a new value; whoever holds the old tensor does not see it.""",
    "E0421": """a scan reads what is there already

  scan[t]: h[t, d] := a[t, d] * h[t - 1, d else h0[d]] + x[t, d]

  The tensors of a scan are read at earlier steps (t - 1, t - 2, ...), or, if they stand earlier in the block, at t.
  A scan that reads t + 1 runs backwards. What is before the first step needs a value: `else`.""",
    "E0422": """a scan runs one way

  Reads of earlier steps run it forwards, reads of later ones backwards. Use two scans.""",
    "E0502": """a position outside a tensor, found while a kernel ran
  Positions that are computed from data (gathers) are checked when they are read. There are no negative positions
  in index notation.""",
    "E0503": """a condition of more than one element
  `if x > 0:` is decided by one element. Write `if all[i] (x[i] > 0):` or `if any[i] (x[i] > 0):`.""",
    "E0601": """a backward that returns the wrong number of gradients
  One value for each parameter of forward after ctx, None where there is none.""",
    "E0602": """a tensor stored on ctx
  `ctx.save_for_backward(x)` keeps track of its version; an attribute would not.""",
    "E0603": """a tensor that was changed after it was saved for the backward
  Change a copy: `y = y.clone()`.""",
    "E0701": """a Python module without permission
  `tdsl run --allow-python file.tdsl`, or a list: `--allow-python=numpy,helpers`.""",
    "E0702": """modules that import each other""",
}
