"""A Python module used from 11_imports.tdsl (needs --allow-python)."""


def moving_average(values, k):
    out = []
    for i in range(len(values)):
        w = values[max(0, i - k + 1) : i + 1]
        out.append(sum(w) / len(w))
    return out


def smooth_l1(a, b):  # receives tdsl tensors, uses tensor operations only: differentiable
    d = (a - b).abs()
    return (0.5 * d * d).minimum(d - 0.5).mean()
