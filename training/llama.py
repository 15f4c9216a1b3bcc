"""The model, of the teacher's shape or the student's, for distil.py.

A model is a dictionary of tensors: emb, norm, and those in NAMES, each stacked, (layer, out, in).
"""

import glob
import json
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

BOS = 1


def rotate(x, cos, sin):
    """Turn adjacent pairs; x: (..., heads, head_size)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def rms(x, gain, eps):
    f = x.float()
    return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + eps) * gain.float()).to(x.dtype)


def q4_0_blocks(w):
    """Round to Q4_0 as ggml does: blocks of 32, a half-precision scale, codes of -8 to 7."""
    b = w.detach().float().view(*w.shape[:-1], -1, 32)
    high, low = b.amax(-1, keepdim=True), b.amin(-1, keepdim=True)
    d = torch.where(high > -low, high, low) / -8
    inverse = torch.where(d == 0, torch.zeros_like(d), 1 / d)
    return (b * inverse + 8.5).floor().clamp(0, 15) - 8, d.half()


def q4_0(w):
    """Round to Q4_0, passing gradients through."""
    codes, scales = q4_0_blocks(w)
    return w + ((codes * scales.float()).view(w.shape) - w.detach())


def q4_0_parts(name, w):
    """Return what is shipped of a tensor: codes and scales; norms as they are."""
    if not name.startswith(("w", "emb")):
        return {name: w}
    codes, scales = q4_0_blocks(w)
    return {name + ".codes": codes.to(torch.int8), name + ".scales": scales}


def flash(q, k, v, within):
    """Attend within each story.

    q, k, v: (rows, time, heads, size); within: where stories begin, over all rows.
    """
    r, t, h, d = q.shape
    q, k, v = (x.reshape(r * t, h, d) for x in (q, k, v))
    y = torch.ops.aten._flash_attention_forward(q, k, v, within, within, t, t, 0.0, True, False)[0]
    return y.view(r, t, h * d)


def masked(q, k, v, within):
    """Attend as `flash` does, within being a mask, (rows, 1, time, time)."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=within)
    return y.transpose(1, 2).flatten(2)


def mask_of(ids):
    """Return which tokens see which: those before them in the same story."""
    story = (ids == BOS).cumsum(1)
    same = story[:, :, None] == story[:, None, :]
    return (same & torch.ones(same.shape[1:], dtype=torch.bool, device=ids.device).tril())[:, None]


def block(x, within, cos, sin, w, attend, heads, eps):
    na, wq, wk, wv, wo, nf, w1, w2, w3 = w
    d = wq.shape[0] // heads
    n = rms(x, na, eps)
    q = rotate(F.linear(n, wq).unflatten(-1, (-1, d)), cos, sin)
    k = rotate(F.linear(n, wk).unflatten(-1, (-1, d)), cos, sin)
    v = F.linear(n, wv).unflatten(-1, (-1, d))
    k, v = (y.repeat_interleave(heads // y.shape[2], dim=2) for y in (k, v))
    x = x + F.linear(attend(q, k, v, within), wo)
    n = rms(x, nf, eps)
    return x + F.linear(F.silu(F.linear(n, w1)) * F.linear(n, w3), w2)


def compiled(f):
    """Compile for each shape anew: all layers of a model share one."""
    return torch.compile(f, dynamic=False)


NAMES = ("na", "wq", "wk", "wv", "wo", "nf", "w1", "w2", "w3")


def turns(shape, length, device):
    d = shape["dim"] // shape["heads"]
    freq = 1.0 / shape["theta"] ** (torch.arange(0, d, 2, device=device).float() / d)
    angle = torch.outer(torch.arange(length, device=device).float(), freq)
    return angle.cos(), angle.sin()


def forward(p, shape, ids, within, attend, run=block, quantise=False, dtype=None):
    """Return the logits of ids, (rows, time); reckoned in bfloat16 on a GPU."""
    dtype = dtype or (torch.bfloat16 if ids.is_cuda else torch.float32)
    cos, sin = (c[:, None].to(dtype) for c in turns(shape, ids.shape[1], ids.device))
    round_ = q4_0 if quantise else lambda w: w
    emb = round_(p["emb"]).to(dtype)
    stacks = [(round_(p[n]) if n.startswith("w") else p[n]).to(dtype).unbind(0) for n in NAMES]
    x = F.embedding(ids, emb)
    for w in zip(*stacks):
        x = run(x, within, cos, sin, w, attend, shape["heads"], shape["eps"])
    return F.linear(rms(x, p["norm"], shape["eps"]), emb)


def new_student(a, vocab, device):
    shape = dict(
        dim=a.dim,
        hidden=a.hidden,
        layers=a.layers,
        heads=a.heads,
        kv_heads=a.kv_heads,
        vocab=vocab,
        theta=10000.0,
        eps=1e-5,
    )
    kv, std, last = a.dim // a.heads * a.kv_heads, 0.02, 0.02 / math.sqrt(2 * a.layers)
    g = torch.Generator().manual_seed(a.seed)

    def normal(std, *size):
        return (torch.randn(*size, generator=g) * std).to(device).requires_grad_()

    def ones(*size):
        return torch.ones(*size, device=device, requires_grad=True)

    n = a.layers
    return shape, dict(
        emb=normal(std, vocab, a.dim),
        na=ones(n, a.dim),
        wq=normal(std, n, a.dim, a.dim),
        wk=normal(std, n, kv, a.dim),
        wv=normal(std, n, kv, a.dim),
        wo=normal(last, n, a.dim, a.dim),
        nf=ones(n, a.dim),
        w1=normal(std, n, a.hidden, a.dim),
        w2=normal(last, n, a.dim, a.hidden),
        w3=normal(std, n, a.hidden, a.dim),
        norm=ones(a.dim),
    )


def q4_1(blocks):
    """Read rows of Q4_1: blocks of 20 bytes, scale and least in half precision, then 32 nibbles."""
    b = blocks.reshape(blocks.shape[0], -1, 20)
    head = np.ascontiguousarray(b[..., :4]).view(np.float16).astype(np.float32)
    codes = np.concatenate((b[..., 4:] & 15, b[..., 4:] >> 4), -1).astype(np.float32)
    return (codes * head[..., :1] + head[..., 1:]).reshape(blocks.shape[0], -1)


def read_teacher(folder, device, most):
    shape = json.load(open(os.path.join(folder, "shape.json")))
    first = np.load(os.path.join(folder, "embedding.npz"))
    layers = []
    for path in sorted(glob.glob(os.path.join(folder, "layer_*.npz")))[:most]:
        file, layer = np.load(path), {}
        for key in file.files:
            name, kind = key.split(".")
            layer[name] = torch.from_numpy(
                q4_1(file[key]) if kind == "Q4_1" else file[key].astype(np.float32)
            )
        layers.append(layer)
    shape["layers"] = len(layers)
    p = {n: torch.stack([x[n] for x in layers]) for n in NAMES}
    p["emb"] = torch.from_numpy(first["emb"].astype(np.float32))
    p["norm"] = torch.from_numpy(first["norm"].astype(np.float32))
    return shape, {n: t.to(device).requires_grad_() for n, t in p.items()}
