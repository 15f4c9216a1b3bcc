"""Stories told by the teacher, many at once, for distil.py."""

import time

import torch
import torch.nn.functional as F

from llama import BOS, rotate, turns
from rows import CONTEXT

KEPT = 32


def attention_kernel():
    """Return a Triton kernel for one new token of many stories, each of its own length."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(
        q,
        k,
        v,
        out,
        pos,
        GROUP: tl.constexpr,
        KV: tl.constexpr,
        D: tl.constexpr,
        T: tl.constexpr,
        STEP: tl.constexpr,
        scale,
    ):
        b, h = tl.program_id(0), tl.program_id(1)
        length = tl.load(pos + b) + 1
        row, col, step = tl.arange(0, 16), tl.arange(0, D), tl.arange(0, STEP)
        heads = row < GROUP
        at = (b * KV * GROUP + h * GROUP + row)[:, None] * D + col[None, :]
        query = tl.load(q + at, mask=heads[:, None], other=0.0)
        base = (b.to(tl.int64) * KV + h) * T * D
        most = tl.full((16,), -1e30, tl.float32)
        total = tl.zeros((16,), tl.float32)
        acc = tl.zeros((16, D), tl.float32)
        for t in range(0, length, STEP):
            there = (t + step) < length
            tile = base + (t + step)[:, None] * D + col[None, :]
            keys = tl.load(k + tile, mask=there[:, None], other=0.0)
            s = tl.dot(query, tl.trans(keys)) * scale
            s = tl.where(there[None, :], s, -1e30)
            high = tl.maximum(most, tl.max(s, 1))
            e = tl.exp(s - high[:, None])
            shrink = tl.exp(most - high)
            values = tl.load(v + tile, mask=there[:, None], other=0.0)
            acc = acc * shrink[:, None] + tl.dot(e.to(values.dtype), values)
            total = total * shrink + tl.sum(e, 1)
            most = high
        tl.store(out + at, (acc / total[:, None]).to(out.dtype.element_ty), mask=heads[:, None])

    def attend(q, k, v, pos):
        """q: (stories, heads, size); k, v: (stories, kv_heads, time, size)."""
        b, kv, t, d = k.shape
        out = torch.empty_like(q)
        kernel[(b, kv)](q, k, v, out, pos, q.shape[1] // kv, kv, d, t, 64, d**-0.5, num_warps=4)
        return out

    return attend


def plain_attention(q, k, v, pos):
    b, kv, t, d = k.shape
    s = torch.matmul(q.view(b, kv, -1, d), k.transpose(2, 3)).float() * d**-0.5
    s = s.masked_fill(
        torch.arange(t, device=q.device)[None, None, None] > pos[:, None, None, None], -1e30
    )
    return torch.matmul(s.softmax(-1).to(v.dtype), v).view(b, -1, d)


class Teller:
    """Tells stories without end in many slots; one step is one token of each."""

    def __init__(self, p, shape, prompts, slots, steps, attend, device, dtype):
        self.shape, self.attend, self.slots = shape, attend, slots
        self.p = {n: t.detach().to(dtype) for n, t in p.items()}
        self.qkv = torch.cat([self.p[n] for n in ("wq", "wk", "wv")], 1)
        self.w13 = torch.cat([self.p[n] for n in ("w1", "w3")], 1)
        self.cos, self.sin = (c.to(dtype) for c in turns(shape, CONTEXT, device))
        d, kv = shape["dim"] // shape["heads"], shape["kv_heads"]
        self.k = torch.zeros(shape["layers"], slots, kv, CONTEXT, d, dtype=dtype, device=device)
        self.v = torch.zeros_like(self.k)
        self.prompts = prompts.to(device)
        self.token = torch.full((slots,), BOS, device=device)
        self.pos = torch.zeros(slots, dtype=torch.long, device=device)
        self.prompt = torch.randint(len(prompts), (slots,), device=device)
        self.each = torch.arange(slots, device=device)
        self.now = torch.zeros(1, dtype=torch.long, device=device)
        self.told = torch.zeros(steps, slots, dtype=torch.int16, device=device)
        self.which = torch.zeros(steps, slots, KEPT, dtype=torch.int16, device=device)
        self.likely = torch.zeros(steps, slots, KEPT, dtype=torch.float16, device=device)

    @torch.no_grad()
    def step(self):
        s, p, pos = self.shape, self.p, self.pos
        heads, kv, eps = s["heads"], s["kv_heads"], (s["dim"],)
        d = s["dim"] // heads
        cos, sin = self.cos[pos][:, None], self.sin[pos][:, None]
        x = p["emb"][self.token]
        for i in range(s["layers"]):
            y = F.linear(F.rms_norm(x, eps, p["na"][i], s["eps"]), self.qkv[i])
            turned = rotate(y[:, : (heads + kv) * d].unflatten(-1, (-1, d)), cos, sin)
            self.k[i][self.each, :, pos] = turned[:, heads:]
            self.v[i][self.each, :, pos] = y[:, (heads + kv) * d :].unflatten(-1, (-1, d))
            y = self.attend(turned[:, :heads].contiguous(), self.k[i], self.v[i], pos)
            x = x + F.linear(y.flatten(1), p["wo"][i])
            gate, up = F.linear(F.rms_norm(x, eps, p["nf"][i], s["eps"]), self.w13[i]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, p["w2"][i])
        logits = F.linear(F.rms_norm(x, eps, p["norm"], s["eps"]), p["emb"]).float()
        high, which = logits.topk(KEPT)
        likely = (high - logits.logsumexp(-1, keepdim=True)).exp()
        # What is under a fiftieth of the likeliest is not told: the odd word that spoils a story.
        luck = -torch.log(-torch.log(torch.rand_like(high).clamp(1e-9, 1 - 1e-7)))
        drawn = torch.where(likely >= 0.02 * likely[:, :1], high + luck, -1e30).argmax(-1)
        drawn = which.gather(1, drawn[:, None])[:, 0]
        width = self.prompts.shape[1]
        forced = self.prompts[self.prompt, (pos + 1).clamp(max=width - 1)]
        forced = torch.where(pos + 1 < width, forced, -1)
        following = torch.where(forced >= 0, forced, drawn)
        self.told.index_copy_(0, self.now, self.token.to(torch.int16)[None])
        self.which.index_copy_(0, self.now, which.to(torch.int16)[None])
        self.likely.index_copy_(0, self.now, likely.half()[None])
        over = (following == BOS) | (pos == CONTEXT - 1)
        self.token.copy_(torch.where(over, BOS, following))
        self.prompt.copy_(
            torch.where(over, torch.randint_like(self.prompt, len(self.prompts)), self.prompt)
        )
        self.pos.copy_(torch.where(over, 0, pos + 1))
        self.now.add_(1)


def capture(step, device, warm=3):
    """Return a function that does step(): on a GPU a captured graph of it."""
    if device != "cuda":
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warm):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def tell(p, shape, prompts, a, attend, log, device):
    steps = a.tell_steps
    teller = Teller(
        p,
        shape,
        prompts,
        a.slots,
        steps,
        attend,
        device,
        torch.bfloat16 if device == "cuda" else torch.float32,
    )
    go, begin, done = capture(teller.step, device), time.time(), int(teller.now)
    while done < steps - 1 and time.time() - begin < a.generate_seconds:
        for _ in range(min(20, steps - 1 - done)):
            go()
            done += 1
        if device == "cuda":
            torch.cuda.synchronize()
    seconds = time.time() - begin
    speed = done * a.slots / seconds
    log(f"told {done} steps of {a.slots}: {speed:.0f} tokens/s in {seconds:.1f} s")
    told = teller.told[:done], teller.which[:done], teller.likely[:done]
    del teller
    # One slot after another, so that stories are runs.
    return [t.transpose(0, 1).flatten(0, 1) for t in told]
