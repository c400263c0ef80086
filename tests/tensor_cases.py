"""Expressions that must mean the same in tdsl and in PyTorch: `t` is the module; inputs are made anew for each."""

SETUP = """
import numpy as np
nan, inf = float("nan"), float("inf")
a = t.tensor([[1.5, -2.0, 0.25], [4.0, 0.5, -1.0]])
b = t.tensor([[2.0, 1.0, -0.5], [0.25, 3.0, 1.0]])
v = t.tensor([0.5, -1.5, 2.0])
d = t.tensor([1.0, 2.0, 3.0], dtype=t.float64)
i = t.tensor([[7, -7, 3], [2, 0, -5]])
j = t.tensor([[3, 3, -2], [5, 7, 2]])
k = t.tensor([1, 2, 3], dtype=t.int32)
u = t.tensor([200, 100, 255], dtype=t.uint8)
s = t.tensor([100, -100, 50], dtype=t.int8)
m = t.tensor([[True, False, True], [False, False, True]])
z = t.tensor([0.0, -0.0, 1.0, nan, inf, -inf])
c = t.arange(24.0).reshape(2, 3, 4)
n = t.arange(120).reshape(2, 3, 4, 5)
x0 = t.tensor(3.0)
"""

ELEMENTWISE = """
a + b; a - b; a * b; a / b; a // b; a % b; a ** 2; a ** 3; a ** -1; a.abs() ** 0.5; a.abs() ** -0.5; a ** 0; 2 ** a; a.abs() ** b
a + 1; 1 - a; 2 / a; a + v; v + a; a * True; a + d; i + 5; i + 5.0; k + 5; k + 5.0; k + t.tensor(3); k + t.tensor(2.0, dtype=t.float64)
k + t.tensor([2.0]); u + s; m + 1; m + m; m * m; m + 1.5; s + 300; u == -1; i / j; i // j; i % j; 7 // j; 7.0 // b; 7 % j; -7 % b
t.div(i, j, rounding_mode="floor"); t.div(i, j, rounding_mode="trunc"); t.div(a, b, rounding_mode="trunc"); t.fmod(i, j); t.fmod(a, b)
t.remainder(a, 3); t.floor_divide(a, 2); t.true_divide(i, 2); i ** 2; i ** 0; 2 ** j.abs(); t.pow(2, i.abs()); i.float().pow(2)
t.add(a, b, alpha=2); t.sub(a, 1, alpha=3); a.add(b, alpha=0.5); t.rsub(a, 2); t.neg(a); -a; +a; abs(a); t.negative(a)
a.exp(); t.log(a.abs()); a.abs().sqrt(); a.abs().rsqrt(); a.tanh(); a.sigmoid(); a.erf(); a.sin(); a.cos(); a.tan(); a.expm1(); t.log1p(a.abs())
a.sign(); a.floor(); a.ceil(); a.round(); a.trunc(); t.tensor([0.5, 1.5, 2.5, -0.5]).round(); i.floor(); i.round(); i.sqrt(); m.exp(); i.relu()
a.relu(); a.square(); a.reciprocal(); i.square(); a.clamp(-1, 1); a.clamp(min=0); a.clamp(max=0.5); a.clamp(v, v + 1); a.clamp(2, 1); i.clamp(min=0.5)
z.clamp(0, 1); t.clip(a, 0, 1); t.maximum(a, b); t.minimum(a, b); t.maximum(z, z.flip(0)); t.minimum(z, z.flip(0)); t.where(a > 0, a, b); t.where(m, 1.0, a)
t.where(m, 1, 2); t.where(m, i, 2.5); t.where(m, a, d); a.where(a > 0, b); t.atan2(a, b); t.fmax(z, z.flip(0)); t.fmin(z, z.flip(0))
a < b; a <= b; a > 0; a >= 1.5; a == b; a != b; i == 7; m == True; i < 2.5; k == k; a.eq(b); a.lt(0); t.greater(a, b); t.less_equal(a, 0)
a == [1, 2]; a != None; a == None; t.logical_and(a, b); t.logical_or(m, a); t.logical_xor(m, i); t.logical_not(a); m & ~m; m | m; m ^ True; i & 3; i | j; i ^ j; ~i; ~u
z.isnan(); z.isinf(); z.isfinite(); i.isnan(); i.isfinite(); i.isinf(); z.sign(); z.relu(); z.abs(); z // 1; 1.0 // z; z % 3; t.isclose(a, a + 1e-9); t.nan_to_num(z)
t.allclose(a, a); t.equal(a, a); t.equal(a, b); t.lerp(a, b, 0.5); t.addcmul(a, a, b, value=0.5); t.addcdiv(a, a, b); a.frac(); t.hypot(a, b); t.exp2(a); t.log2(a.abs()); t.log10(a.abs())
a.float(); a.double(); a.long(); a.int(); a.bool(); i.float(); m.float(); i.double().dtype; a.to(t.int8); a.type_as(d); a.to(d); a.to("cpu"); a.to("cpu", t.float64); z[:3].bool()
t.asin(v / 4); t.acos(v / 4); t.atan(a); t.sinh(a); t.cosh(a); t.logaddexp(a, b); t.softmax(a, 1); a.softmax(-1); a.log_softmax(0); t.relu(i); i.abs(); i.sign(); i.neg(); u.neg()
t.result_type(i, 1.0); t.promote_types(t.int32, t.float32); t.can_cast(t.float32, t.int32); t.is_tensor(a); a.is_floating_point(); t.heaviside(a, v); t.bitwise_not(i); i << 1; i >> 1
np.float32(2) * a; a * np.float32(2); a * np.ones(3)
"""

REDUCTIONS = """
a.sum(); a.sum(0); a.sum(1, keepdim=True); a.sum((0, 1)); a.sum(dim=()); a.sum(-1); i.sum(); k.sum(); m.sum(); u.sum(); a.sum(dtype=t.float64); t.sum(a, dim=1); a.sum(axis=1)
a.mean(); a.mean(1); a.mean((0, 1), keepdim=True); i.float().mean(); i.mean(dtype=t.float32); a.prod(); a.prod(1); k.prod(); m.prod(dim=0); t.ones(0).sum(); t.ones(0).prod(); t.ones(0).mean()
a.amax(); a.amax(1); a.amin((0, 1)); a.amin(0, keepdim=True); a.max(); a.min(); i.max(); m.max(); tuple(a.max(1)); tuple(a.min(0, keepdim=True)); a.max(b); a.max(1).indices; t.max(a, 0)[1]; t.max(a, dim=1).values
a.argmax(); a.argmax(1); a.argmin(0); a.argmax(1, keepdim=True); a.argmax(keepdim=True); i.argmax(); t.tensor([1.0, nan, 3.0]).argmax(); t.tensor([1.0, nan, 3.0]).max(); t.tensor([1.0, 3.0, 3.0]).argmax()
a.var(); a.var(1); a.var(0, unbiased=False); a.var(1, keepdim=True); a.std(); a.std(1); a.std(dim=1, correction=0); t.var(a, dim=(0, 1)); t.var_mean(a, 1); t.std_mean(a, 1)
m.any(); m.any(1); m.all(); m.all(0, keepdim=True); i.any(); u.any(); i.all(1); t.ones(0).any(); t.ones(0).all(); t.any(a > 3); t.all(a > -9)
a.logsumexp(1); a.logsumexp((0, 1)); t.logsumexp(a, 0, keepdim=True); a.norm(); a.norm(1); a.norm(inf); a.norm(2, dim=1); a.norm(p=3, dim=0, keepdim=True); a.norm(0)
x0.sum(0); x0.max(0); x0.argmax(0); x0.mean(-1); c.sum((0, 2)); c.mean(1); c.amax((1, 2)); c.max(2).indices; t.ones(2, 0).sum(1); t.ones(0, 3).sum(0); t.ones(0, 3).amax(1)
a.cumsum(0); a.cumsum(1); i.cumsum(1); m.cumsum(0); a.cumprod(1); a.median(); tuple(a.median(1)); a.count_nonzero(); a.sort(1)[0]; a.sort(1)[1]; a.argsort(1); a.topk(2, 1)[0]; a.topk(2, 1)[1]
t.tensor([3, 1, 2, 1]).unique(); t.bincount(t.tensor([0, 1, 1, 3])); a.sort(descending=True).values; a.dist(b); t.aminmax(a); a.nansum(); t.tensor([3.0, nan, 1.0]).sort()[0]
"""

SHAPES = """
c.reshape(6, 4); c.reshape(-1); c.reshape((4, -1)); c.view(3, 8); c.view(-1, 2); c.permute(2, 0, 1); c.permute((1, 0, 2)); c.transpose(0, 2); c.transpose(-1, -2); a.t(); a.T; c.mT; a.mT; v.t()
c[:, :1].squeeze(1); c[:, :1].squeeze(); c.squeeze(0); c.unsqueeze(0); c.unsqueeze(-1); c.unsqueeze(2); v.expand(2, 3); v.expand(2, -1); a[:, :1].expand_as(a); c.flatten(); c.flatten(1); c.flatten(0, 1); x0.flatten()
c.flip(0); c.flip(0, 2); c.flip((1, 2)); t.cat([a, b]); t.cat((a, b), 1); t.cat([a, d.expand(1, 3)]); t.cat([i, a]); t.cat([t.tensor([]), v]); t.stack([a, b]); t.stack([a, b], 1); t.stack([a, b], -1); t.concat([v, v])
c.split(2, 1); c.split([1, 2], dim=1); c.chunk(2, 2); t.chunk(v, 2); c.unbind(); c.unbind(1); c.narrow(1, 1, 2); c.select(1, 2); c.select(-1, -1); v.repeat(2); v.repeat(2, 2); a.repeat(2, 1, 2); t.tile(v, (2,)); t.tile(a, (2,))
a.tril(); a.triu(); a.tril(-1); a.triu(1); c.tril(); m.tril(); a.masked_fill(m, 9.0); a.masked_fill(m, t.tensor(2.0)); i.masked_fill(m, 0); c.gather(2, t.tensor([[[0, 1], [1, 2], [3, 0]]])); a.gather(1, t.tensor([[0], [2]]))
a.index_select(1, t.tensor([2, 0])); c.index_select(0, t.tensor([1])); a.scatter_add(1, t.tensor([[0, 0, 1], [2, 2, 2]]), b); a.index_add(0, t.tensor([1, 1]), b); a.index_add(1, t.tensor([0]), b[:, :1], alpha=2); t.take_along_dim(a, t.tensor([[0, 2], [1, 1]]), 1)
t.scatter(a, 1, t.tensor([[0], [1]]), b); a.scatter(1, t.tensor([[0], [1]]), 9.0); a.index_fill(1, t.tensor([0]), 5.0); a.index_copy(0, t.tensor([1]), b[:1]); a.roll(1); a.roll(1, 0); t.diag(v); t.diag(a[:, :2]); c.diagonal(0, 1, 2); a.diagonal(); a.diagonal(1); t.outer(v, v); a.fliplr(); a.flipud()
a @ b.T; a @ v; v @ b.T; v @ v; c @ c.mT; c @ t.ones(4, 2); t.ones(2, 2) @ c[0, :2]; v @ c.mT[:, :3, :3]; t.matmul(c, t.arange(4.0)); t.mm(a, b.t()); t.bmm(c, c.transpose(1, 2)); t.dot(v, v); t.mv(a, v); a.matmul(v); i @ j.T; t.addmm(t.ones(2, 2), a, b.T); t.einsum("ij,kj->ik", a, b); t.einsum("bij,bkj->bik", c, c); t.trace(a); t.ones(2, 0) @ t.ones(0, 3); c.new_ones(2, 1, 3, 4) @ c.mT
c.movedim(0, 2); c.movedim((0, 1), (1, 0)); c.swapaxes(0, 1); c.unflatten(2, (2, 2)); t.broadcast_to(v, (2, 3)); a.view_as(b.T.reshape(2, 3)); c.ravel(); a.expand(4, 2, 3); a.numel(); c.size(); c.size(1); c.size(-1); c.dim(); c.ndim; len(c); c.shape; list(c.shape); c.shape[1:]; c.shape.numel(); a.element_size(); a.nelement()
c.stride(); c.stride(1); c.permute(2, 0, 1).stride(); a.t().stride(); c[:, 1:].stride(); c[:, 1:].storage_offset(); c[::, ::2].stride(); v.expand(2, 3).stride(); c.unsqueeze(1).stride(); c.permute(2, 0, 1).is_contiguous(); c[1:].is_contiguous(); c[:, 1:].is_contiguous(); c.permute(2, 0, 1).contiguous().stride(); c.permute(2, 0, 1).reshape(4, 6).stride(); c.transpose(0, 1).flatten(1).stride(); c[:, :2].view(2, 8).stride(); c.squeeze().stride(); c[0].stride(); c.reshape(2, 1, 3, 4).stride(); t.zeros(0, 3).stride(); c.clone().stride()
t.meshgrid(v, v, indexing="ij"); t.repeat_interleave(v, 2); a.repeat_interleave(2, 1); t.hstack([v, v]); t.vstack([v, v]); t.tensor_split(v, 2); m.nonzero(as_tuple=True); t.masked_select(a, m); t.kron(v, v); t.searchsorted(d, d); t.nn.functional.pad(a, (1, 2)); t.bucketize(d, d)
"""

INDEXING = """
c[0]; c[-1]; c[0, 1]; c[0, 1, 2]; c[:, 1]; c[..., 0]; c[0, ...]; c[1:]; c[:, 1:3]; c[:, ::2]; c[..., 1:10]; c[5:]; c[:-1]; c[-1:, -2:]; c[None]; c[:, None]; c[..., None]; c[0, None, 1]; c[()]; x0[()]; x0[...]; x0[None]
c[[0, 1]]; c[[1, 0, 1]]; c[:, [0, 2]]; c[..., [3, 0]]; c[[0, 1], [1, 2]]; c[[0, 1], [1, 2], [3, 0]]; c[t.tensor([1, 0])]; c[t.tensor([[0, 1], [1, 0]])]; c[:, t.tensor([[0, 1], [1, 0]])]; c[[-1]]; c[np.array([1, 0])]; c[t.tensor(1)]; c[t.tensor([1], dtype=t.int32)]; a[[]]
n[[0, 1], :, [0, 1]]; n[:, [0, 1], [0, 1]]; n[:, :, [0, 1], [0, 1]]; n[0, :, [0, 1]]; n[[0, 1], 1]; n[:, 0, [1, 2]]; n[:, [0, 1], :, 2]; n[[0, 1], :, 1:, [0, 1]]; n[None, [0, 1], [1, 2]]; n[[0], [[1], [2]]]; n[:, [0, 1], None, [0, 1]]; n[..., [0, 1], [1, 0]]; n[[1], ..., 2]
a[m]; a[~m]; a[a > 0]; c[c > 5].sum(); a[:, t.tensor([True, False, True])]; a[t.tensor([True, False])]; c[t.tensor([True, False]), [1]]; n[:, m.new_ones(3, 4, dtype=t.bool)].shape; a[True]; a[False]; a[m, None]; n[t.tensor([True, True]), :, [0, 1]]; a[[True, False]]; x0[True]; x0[t.tensor(True)]; x0[x0 > 5]; c[t.tensor([True, False]), 0, 1:]
"""

ASSIGN = """
a[0] = 1; a[0, 1] = 5.0; a[:, 1] = v[:2]; a[...] = 3; a[:] = v; a[0] = b[1]; a[1:, :2] = 7; a[:, ::2] = t.zeros(2, 2); a[0, 0] = i[0, 0]; i[0] = 1.9; i[0, 0] = x0; a[a > 0] = 0; a[m] = 9.0; a[m] = t.tensor([5.0, 6.0, 7.0]); a[m] += 1
a[[0, 1]] = b; a[[0, 0, 1]] += 1; a[[0, 1], [1, 2]] = 8.0; a[[1, 0], [1, 2]] = v[:2]; a[:, [0, 2]] = v[:2]; a[:, [2, 0]] = t.zeros(2, 2); a[[1]] = v; a[t.tensor([0])] = 2; a[None] = 4; a[:, None] = 4; c[:, [0, 1], [2, 3]] = 0; c[[0, 1], :, [1, 2]] = 1; c[..., 0] = 1; a[t.tensor([True, False])] = v; a[:, t.tensor([True, False, True])] = 0
a.T[0] = 9; a.view(-1)[1] = 9; a[0][1] = 9; c.permute(2, 0, 1)[0] = 5; c[:, 1:].transpose(0, 1)[0] = 7; c.view(6, 4)[2:4, 1] = 0; a += 1; a -= b; a *= 2; a /= 2; a //= 2; a %= 2; a **= 2; m &= True; m |= True; i <<= 1; a[0] += 1; a[:, 0] *= 3; a.T[0] += 10; c[0].T[1] = 0; c.unbind()[1][:] = 0
a.add_(1); a.add_(b, alpha=2); a.mul_(b); a.sub_(v); a.div_(2); a.pow_(2); a.zero_(); a.fill_(3); a.copy_(b); a.copy_(v); a.copy_(i); i.copy_(a); a.clamp_(0, 1); a.clamp_(min=0); a.exp_(); a.neg_(); a.relu_(); a.sqrt_(); a.masked_fill_(m, 0); a.t().zero_(); a[0].fill_(2); a.tril_(); i.add_(1); i.mul_(2); u.add_(100); a.t_(); a.unsqueeze_(0); a.squeeze_(); a.transpose_(0, 1); a.abs_(); a.sigmoid_(); a.tanh_(); a.addcmul_(a, b, value=2); a.addcdiv_(a, b); a.lerp_(b, 0.5); a.scatter_add_(1, t.tensor([[0], [1]]), b); a.scatter_(1, t.tensor([[0], [1]]), 3.0); a.index_add_(0, t.tensor([0]), v[None]); a.index_fill_(0, t.tensor([0]), 1.0); a.index_copy_(0, t.tensor([1]), v[None]); a.requires_grad_(False); a.index_put_((t.tensor([0, 0]), t.tensor([1, 1])), t.tensor([1.0, 2.0]), accumulate=True); a.floor_(); a.round_(); a.eq_(b); a.logical_not_(); m.logical_not_(); a.fill_diagonal_(7.0); a.swapaxes_(0, 1)
"""

CREATION = """
t.tensor(1.0); t.tensor(1); t.tensor(True); t.tensor([1, 2.5]); t.tensor([True, 2]); t.tensor([]); t.tensor([[]]); t.tensor([[1, 2], [3, 4]]); t.tensor(np.ones(2)); t.tensor(np.float32(2)); t.tensor([1, 2], dtype=t.float64); t.tensor((1, 2)); t.tensor([np.float64(2), 1]); t.tensor([t.tensor(1.0), t.tensor(2.0)]); t.tensor([1.9, -1.9], dtype=t.int64); t.tensor([0, 2], dtype=t.bool); t.tensor(range(3))
t.zeros(2, 3); t.zeros((2, 3)); t.zeros([2]); t.zeros(()); t.ones(2, dtype=t.int64); t.ones(0, 3); t.full((2,), 1); t.full((2,), True); t.full((2, 2), 1.5); t.full((), 7); t.full([2], 3, dtype=t.float32); t.empty(2, 3).shape; t.empty((0,)).dtype; t.eye(3); t.eye(2, 3); t.eye(2, dtype=t.int64)
t.arange(5); t.arange(5.0); t.arange(1, 5); t.arange(0, 1, 0.25); t.arange(5, 0, -1); t.arange(5, 0, -2); t.arange(0); t.arange(1, 2, 0.3); t.arange(3, dtype=t.float64); t.arange(0.5, 3); t.arange(10, dtype=t.int32); t.linspace(0, 1, 5); t.linspace(-1, 1, 1); t.linspace(0, 10, 3, dtype=t.float64); t.linspace(0, 1, 0); t.logspace(0, 2, 3)
t.zeros_like(a); t.ones_like(i); t.full_like(a, 3); t.empty_like(a).shape; t.zeros_like(a, dtype=t.int32); a.new_zeros(2); a.new_ones((2, 2)); i.new_full((2,), 3); a.new_tensor([1, 2]); i.new_tensor([1.5]); a.new_empty(3).dtype; t.rand_like(a).shape; t.randn_like(d).dtype; t.rand(3, dtype=t.float64).dtype; t.rand(2, 3).shape; t.randn(()).shape; t.randint(5, (3,)).dtype; t.randint(1, 2, (2,)); t.randperm(1); t.randperm(5).sort()[0]; t.randint(0, 10, (3,), dtype=t.int32).dtype; t.bernoulli(t.ones(3)); t.bernoulli(t.zeros(3)); t.multinomial(t.tensor([0.0, 1.0, 0.0]), 3, replacement=True); t.multinomial(t.tensor([0.0, 1.0, 0.0]), 1); t.normal(0.0, 1.0, (2,)).shape
t.from_numpy(np.arange(3)); t.as_tensor([1, 2]); t.as_tensor(np.arange(2.0)); t.from_numpy(np.arange(6).reshape(2, 3).T); t.from_numpy(np.arange(6)[::2]); t.from_numpy(np.arange(6.0).reshape(2, 3)[:, 1:]).stride(); t.scalar_tensor(2.0); t.get_default_dtype(); t.is_grad_enabled(); t.numel(a); t.finfo(t.float32).eps; t.iinfo(t.int8).max; t.inf; t.pi; t.float32.itemsize; t.float32.is_floating_point; t.device("cpu"); a.device; t.Size([2, 3]); t.Size([2]) + (3,); t.Size((1, 2)).numel()
"""

ESCAPES = """
a.tolist(); i.tolist(); m.tolist(); x0.tolist(); x0.item(); t.tensor(3).item(); t.tensor(True).item(); a.numpy(); np.asarray(a); np.array(i); a.T.numpy(); bool(x0); float(x0); int(x0); int(t.tensor([4])); float(t.tensor([[2.5]])); [1, 2, 3, 4][t.tensor(2)]; f"{x0:.2f}"; f"{t.tensor(3):d}"; f"{x0}"; f"{a}"; str(a); repr(i); bool(t.tensor([[0]])); 1.5 in a; 99 in a; list(v); [r.tolist() for r in a]; len(a); a.sum().item(); hash(a) == hash(a); round(x0.item()); divmod(7, 2); max(v).item(); sum(v); sorted(v.tolist()); x0 + 1 if x0 else 0; a.__len__(); a.dtype; i.dtype; m.dtype; a.is_leaf; a.requires_grad; a.grad; a.grad_fn; a._version; a.data; a.detach(); a.is_cuda; a.storage_offset(); a.cpu(); a.contiguous() is a; a.to(a.dtype) is a; a.float() is a; np.add(a, 1)a.nbytes; a.itemsize; a.type(); i.type(); a.type(t.int32); a.tolist() == a.numpy().tolist(); t.is_floating_point(a); a.is_signed(); a.data_ptr() == a.view(-1).data_ptr(); a[1].data_ptr() - a.data_ptr(); a.T.tolist(); t.zeros(2, 0).tolist(); complex(x0)
"""
for_each = {
    name: [e.strip() for e in text.replace("\n", ";").split(";") if e.strip()]
    for name, text in {
        "elementwise": ELEMENTWISE, "reductions": REDUCTIONS, "shapes": SHAPES, "indexing": INDEXING, "assign": ASSIGN,
        "creation": CREATION, "escapes": ESCAPES,
    }.items()
}  # fmt: skip
