"""Train the bundled model: a teacher learns stories and tells more, a student learns from both.

usage: distil.py DATA_DIR TEACHER_DIR OUT_DIR [--teacher-seconds 75 --generate-seconds 120
       --deadline 578 --compile ...]

DATA_DIR is what prepare.py and openings.py wrote, TEACHER_DIR what teacher.py did. The teacher
(SmolLM2, its embedding exchanged for the student's vocabulary) is trained on the genuine stories;
it tells stories from openings, and what it held likely at each token is kept; those stories and
the genuine ones are packed in rows; the student learns them by the teacher's probabilities, in
the last part with its weights rounded to Q4_0, the form that is shipped. All is by the clock, so
that a run of any length ends annealed, and OUT_DIR gets the student again and again: log.txt,
shipped.npz (rounded to Q4_0), student.npz (before rounding, in half precision), told.txt (some of
the teacher's stories), told.u16 (tokens of more of them).

For one GPU of 80 GB; on a processor it runs too, for trials (--small).
"""

import argparse
import json
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from llama import (
    BOS,
    block,
    compiled,
    flash,
    forward,
    mask_of,
    masked,
    new_student,
    q4_0_parts,
    read_teacher,
)
from rows import CONTEXT, PAD, Rows, ends_of, good, split, within_of
from tell import KEPT, attention_kernel, capture, plain_attention, tell

BEGIN = time.time()


def slope(done):
    """Return the learning rate's share: up over the first 3 %, then down to nothing."""
    return min(1.0, (done + 0.003) / 0.03) * max(0.0, 1 - done)


def train_teacher(p, shape, rows, valid, a, attend, log, device):
    run = compiled(block) if a.compile else block
    rest = [t for n, t in p.items() if n != "emb"]
    opt = torch.optim.AdamW(
        [dict(params=rest, lr=a.teacher_lr), dict(params=[p["emb"]], lr=2 * a.teacher_lr)],
        betas=(0.9, 0.95),
        weight_decay=0.05,
        fused=device == "cuda",
    )
    base = [g["lr"] for g in opt.param_groups]
    begin, done, step = time.time(), 0.0, 0
    order, used = None, 0
    total = max(1, int(len(rows) / a.teacher_rows * a.epochs))
    while done < 1:
        if order is None or used + a.teacher_rows > len(rows):
            order, used = torch.randperm(len(rows), device=device), 0
        some = order[used : used + a.teacher_rows]
        used += a.teacher_rows
        # As many epochs as were asked for, sooner annealed if the time runs out.
        done = max(step / total, (time.time() - begin) / a.teacher_seconds)
        for g, lr in zip(opt.param_groups, base):
            g["lr"] = lr * slope(done)
        ids, y = rows.x[some].long(), rows.y[some].long()

        def go(run):
            logits = forward(p, shape, ids, within_of(rows.begin[some], ids, attend), attend, run)
            loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), ignore_index=-1)
            loss.backward()
            return loss

        try:
            loss = go(run)
        except Exception as error:
            if run is block:
                raise
            log(f"the teacher is not compiled: {error}")
            run = block
            opt.zero_grad(set_to_none=True)
            loss = go(run)
        torch.nn.utils.clip_grad_norm_(list(p.values()), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        if step == 3:
            begin = time.time()
        if step % a.every == 0 or step == 3:
            log(f"teacher step {step} of {total} loss {loss.item():.4f} done {done:.2f}")
        if step % max(1, total // 4) == 0:
            log(f"teacher held out {valid(p, shape):.4f} nats/character")
    del opt
    log(f"teacher trained: {step} steps, held out {valid(p, shape):.4f} nats/character")


@torch.no_grad()
def opinions(p, shape, rows, attend, device):
    """Set what the teacher holds likely in the genuine rows."""
    which, likely = [], []
    for i in range(0, len(rows), 32):
        ids = rows.x[i : i + 32].long()
        logits = forward(
            p, shape, ids, within_of(rows.begin[i : i + 32], ids, attend), attend
        ).float()
        high, best = logits.topk(KEPT)
        which.append(best.to(torch.int16))
        likely.append((high - logits.logsumexp(-1, keepdim=True)).exp().half())
    rows.likely = torch.cat(which), torch.cat(likely)


def verdict(logits, y, which, likely, own):
    """Return the loss: the teacher's probabilities, and by `own` the token itself.

    What the teacher held likely beyond what was kept counts as one token more.
    """
    logits = logits.float()
    lse = logits.logsumexp(-1, keepdim=True)
    kept = logits.gather(-1, which) - lse
    rest = (1 - likely.sum(-1)).clamp(min=0)
    other = (1 - kept.exp().sum(-1)).clamp(min=1e-6).log()
    taught = -(likely * kept).sum(-1) - rest * other
    token = -(logits.gather(-1, y.clamp(min=0)[..., None]) - lse)[..., 0]
    loss = own[:, None] * token + (1 - own[:, None]) * taught
    there = y >= 0
    return torch.where(there, loss, 0).sum() / there.sum()


def orthogonal(x):
    """Newton-Schulz on a stack of matrices (Muon, Jordan et al. 2024)."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.mT
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
    return x.mT if tall else x


class Optimiser:
    """Muon for the matrices, Adam for embedding and norms.

    The learning rate is a tensor, so that steps can be captured.
    """

    def __init__(self, p, a, device):
        self.p, self.a = p, a
        self.m = {n: torch.zeros_like(t) for n, t in p.items()}
        self.v = {n: torch.zeros_like(t) for n, t in p.items() if not n.startswith("w")}
        self.share = torch.zeros((), device=device)
        self.count = torch.zeros((), device=device)

    @torch.no_grad()
    def step(self, grads):
        a, p = self.a, self.p
        self.count += 1
        small = [n for n in p if not n.startswith("w")]
        norm = torch.stack([grads[n].float().norm() for n in small]).norm()
        clip = (1 / (norm + 1e-6)).clamp(max=1)
        for n in small:
            g = grads[n].float() * clip
            self.m[n].lerp_(g, 0.1)
            self.v[n].lerp_(g * g, 0.05)
            up = self.m[n] / (1 - 0.9**self.count)
            down = (self.v[n] / (1 - 0.95**self.count)).sqrt() + 1e-8
            p[n].sub_(up / down * (self.share * a.lr))
        for group in (("wq", "wo"), ("wk", "wv"), ("w1", "w3"), ("w2",)):
            moved = []
            for n in group:
                g = grads[n].float()
                self.m[n].lerp_(g, 0.05)
                moved.append(g.lerp(self.m[n], 0.95))
            u = torch.cat(moved).to(torch.bfloat16 if g.is_cuda else torch.float32)
            for n, x in zip(group, orthogonal(u).float().split(len(moved[0]))):
                rate = self.share * a.muon_lr
                p[n].mul_(1 - rate * a.decay)
                p[n].sub_(x * (rate * max(1, x.shape[1] / x.shape[2]) ** 0.5))


def train_student(p, shape, told, genuine, valid, a, attend, log, device, deadline, save):
    tools = [compiled(f) if a.compile else f for f in (block, verdict)]
    opt = Optimiser(p, a, device)
    real = max(1, round(a.genuine * a.rows))
    some = torch.zeros(a.rows, dtype=torch.long, device=device)
    own = torch.full((a.rows,), a.own, device=device)
    own[:real] = a.own_genuine
    seen = torch.zeros((), device=device)

    def gather(table_real, table_told):
        return torch.cat((table_real[some[:real]], table_told[some[real:]]))

    def step(quantise):
        ids = gather(genuine.x, told.x).long()
        y = gather(genuine.y, told.y).long()
        which = gather(genuine.likely[0], told.likely[0]).long()
        likely = gather(genuine.likely[1], told.likely[1]).float()
        within = within_of(gather(genuine.begin, told.begin), ids, attend)
        logits = forward(p, shape, ids, within, attend, tools[0], quantise=quantise)
        loss = tools[1](logits, y, which, likely, own)
        grads = torch.autograd.grad(loss, list(p.values()))
        opt.step(dict(zip(p, grads)))
        seen.copy_(loss.detach())

    orders = [[None, 0, genuine, real], [None, 0, told, a.rows - real]]

    def choose():
        parts = []
        for o in orders:
            order, used, rows, n = o
            if order is None or used + n > len(order):
                order, used = torch.randperm(max(len(rows), n), device=device) % len(rows), 0
            parts.append(order[used : used + n])
            o[0], o[1] = order, used + n
        some.copy_(torch.cat(parts))

    def losses():
        rounded, plain = valid(p, shape, True), valid(p, shape)
        return f"held out in Q4_0 {rounded:.4f}, as it is {plain:.4f} nats/character"

    # Both steps are made ready at first, with a learning rate of nothing.
    steps = []
    for quantise in (False, True):
        begin = time.time()
        try:
            steps.append(capture(lambda quantise=quantise: step(quantise), device))
        except Exception as error:
            log(f"the student is not compiled: {error}")
            tools[:] = block, verdict
            steps = [capture(lambda q=q: step(q), device) for q in (False, True)]
            break
        log(f"student's step ready after {time.time() - begin:.1f} s, loss {seen.item():.4f}")
    begin, count, last, told_at, quantised = time.time(), 0, time.time(), 0, False
    seconds = max(5, deadline - (begin - BEGIN) - 5)
    go = steps[0]
    while True:
        done = (time.time() - begin) / seconds
        if done >= 1:
            break
        if done > a.quantise_from and not quantised:
            go, quantised = steps[1], True
            log(f"rounding to Q4_0 from step {count} on")
        opt.share.fill_(min(1.0, (count + 1) / 200) * min(1.0, (1 - done) / a.anneal))
        for _ in range(10 if device == "cuda" else 1):
            choose()
            go()
            count += 1
        if device == "cuda":
            torch.cuda.synchronize()
        if time.time() - last > a.save_seconds:
            speed = (count - told_at) * a.rows * CONTEXT / (time.time() - last)
            log(f"student step {count} loss {seen.item():.4f} {speed / 1e6:.2f} Mtok/s, {losses()}")
            save()
            told_at, last = count, time.time()
    tokens = count * a.rows * CONTEXT
    log(f"student trained: {count} steps, {tokens / 1e6:.0f} M tokens, {losses()}")
    save()


def main():
    q = argparse.ArgumentParser()
    for name in ("data", "teacher", "out"):
        q.add_argument(name)
    for name, default in (
        ("dim", 256),
        ("layers", 8),
        ("heads", 8),
        ("kv-heads", 4),
        ("hidden", 672),
        ("seed", 1),
        ("rows", 96),
        ("teacher-rows", 32),
        ("slots", 3072),
        ("tell-steps", 16000),
        ("every", 50),
        ("teacher-layers", 99),
        ("least", 60),
    ):
        q.add_argument("--" + name, type=int, default=default)
    for name, default in (
        ("teacher-seconds", 60.0),
        ("generate-seconds", 120.0),
        ("deadline", 560.0),
        ("epochs", 3.0),
        ("teacher-lr", 3e-4),
        ("lr", 3e-3),
        ("muon-lr", 0.02),
        ("decay", 0.01),
        ("own", 0.1),
        ("own-genuine", 0.5),
        ("genuine", 0.125),
        ("quantise-from", 0.4),
        ("anneal", 0.5),
        ("save-seconds", 20.0),
    ):
        q.add_argument("--" + name, type=float, default=default)
    q.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    q.add_argument("--compile", action="store_true")
    q.add_argument("--small", action="store_true")
    a = q.parse_args()
    if a.small:
        a.slots, a.tell_steps, a.rows, a.teacher_rows, a.every, a.least = 2, 2000, 4, 2, 1, 20
    os.makedirs(a.out, exist_ok=True)
    torch.manual_seed(a.seed)
    torch.set_float32_matmul_precision("high")
    rng, device = np.random.default_rng(a.seed), a.device
    out = open(os.path.join(a.out, "log.txt"), "a")

    def log(text):
        line = f"{time.time() - BEGIN:6.1f} s  {text}"
        print(line, flush=True)
        print(line, file=out, flush=True)

    data = {
        n: np.fromfile(os.path.join(a.data, n + ".u16"), dtype=np.uint16)
        for n in ("train", "valid")
    }
    pieces = json.load(open(os.path.join(a.data, "pieces.json")))
    prompts = torch.from_numpy(np.load(os.path.join(a.data, "prompts.npy")).astype(np.int64))
    characters = torch.tensor([len(p) for p in pieces], device=device)

    starts, lengths = split(data["valid"])
    held = torch.full((60, 256), PAD)
    for i, (s, n) in enumerate(zip(starts[:60], lengths)):
        held[i, : min(n, 256)] = torch.from_numpy(
            data["valid"][s : s + min(n, 256)].astype(np.int64)
        )
    held = held.to(device)[: 4 if a.small else 60]

    @torch.no_grad()
    def valid(p, shape, quantise=False):
        nats = chars = 0
        for ids in held.split(20):
            y = ids[:, 1:]
            logits = forward(
                p,
                shape,
                ids[:, :-1],
                mask_of(ids[:, :-1]),
                masked,
                quantise=quantise,
                dtype=torch.float32,
            )
            nats += F.cross_entropy(
                logits.flatten(0, 1), y.flatten(), ignore_index=PAD, reduction="sum"
            ).item()
            chars += characters[y][y != PAD].sum().item()
        return nats / chars

    attend = masked
    if device == "cuda":
        try:
            ids = torch.randint(3, 100, (4, CONTEXT), device=device)
            ids[:, 0] = ids[:, 200] = BOS
            begin = torch.tensor([0, 200] + [CONTEXT] * 6, dtype=torch.int32, device=device).repeat(
                4, 1
            )
            t = [
                torch.randn(
                    4, CONTEXT, 8, 32, device=device, dtype=torch.bfloat16, requires_grad=True
                )
                for _ in range(3)
            ]
            both = []
            for f in (flash, masked):
                y = f(*t, within_of(begin, ids, f))
                both.append((y, *torch.autograd.grad(y.float().square().sum(), t)))
            apart = max(((x - y).float().norm() / y.float().norm()).item() for x, y in zip(*both))
            log(f"flash attention differs by {apart:.4f}")
            attend = flash if apart < 0.02 else masked
        except Exception as error:
            log(f"flash attention: {error}")
    speak = plain_attention
    if device == "cuda":
        try:
            kernel = attention_kernel()
            x = torch.randn(64, 9, 64, device=device, dtype=torch.bfloat16)
            k, v = (
                torch.randn(64, 3, CONTEXT, 64, device=device, dtype=torch.bfloat16)
                for _ in range(2)
            )
            pos = torch.randint(0, CONTEXT, (64,), device=device)
            y, z = kernel(x, k, v, pos), plain_attention(x, k, v, pos)
            apart = ((y - z).float().norm() / z.float().norm()).item()
            log(f"decoding attention differs by {apart:.4f}")
            speak = kernel if apart < 0.02 else speak
        except Exception as error:
            log(f"decoding attention: {error}")

    # 1. The teacher
    shape, teacher = read_teacher(a.teacher, device, a.teacher_layers)
    size = sum(t.numel() for t in teacher.values())
    log(f"teacher {shape}, {size} numbers; {len(prompts)} openings")
    starts, lengths = split(data["train"])
    fits = (
        (lengths < CONTEXT)
        & (lengths > a.least)
        & ends_of(pieces)[data["train"][starts + lengths - 1]]
    )
    ids = torch.from_numpy(data["train"].astype(np.int32))
    starts, lengths = starts[fits], lengths[fits]
    if a.small:
        starts, lengths = starts[:12], lengths[:12]
    genuine = Rows(ids, starts, lengths, rng, device)
    log(
        f"genuine: {fits.sum()} stories in {len(genuine)} rows, {genuine.count} tokens, "
        f"{genuine.count / genuine.x.numel():.3f} full"
    )
    log(f"teacher before: held out {valid(teacher, shape):.4f} nats/character")
    train_teacher(teacher, shape, genuine, valid, a, attend, log, device)

    # 2. Its stories
    told, which, likely = tell(teacher, shape, prompts, a, speak, log, device)
    if a.small:
        # In a trial too little is told: read it from the data.
        told = ids[:4000]
        which, likely = (
            torch.randint(1, 4096, (4000, KEPT)).to(torch.int16),
            torch.rand(4000, KEPT).div(KEPT).half(),
        )
    opinions(teacher, shape, genuine, attend, device)
    log("genuine rows judged")
    del teacher
    starts, lengths = good(
        told,
        a.slots,
        pieces,
        torch.from_numpy(data["valid"].astype(np.int32)).to(device),
        (ids[-1000:] if a.small else ids).to(device),
        a,
        log,
    )
    if len(starts) < 100 and not a.small:
        log("too little was told: the genuine stories stand in, so that the rest can be tried")
        told = ids[:2_000_000].to(device)
        starts, lengths = (x[:8000] for x in split(data["train"][:2_000_000]))
        starts, lengths = starts[lengths < CONTEXT], lengths[lengths < CONTEXT]
        which = torch.randint(1, 4096, (len(told), KEPT), device=device).to(torch.int16)
        likely = torch.full((len(told), KEPT), 0.5 / KEPT, device=device, dtype=torch.float16)
    tokens = told.cpu().numpy()
    with open(os.path.join(a.out, "told.txt"), "w", encoding="utf-8") as f:
        for s, n in list(zip(starts, lengths))[:300]:
            f.write("".join(pieces[i] for i in tokens[s + 1 : s + n]).strip() + "\n<|endoftext|>\n")
    total, more = 0, []
    for s, n in zip(starts, lengths):
        total += n
        if total > 8_000_000:
            break
        more.append(tokens[s : s + n])
    np.concatenate(more).astype(np.uint16).tofile(os.path.join(a.out, "told.u16"))
    rows = Rows(told, starts, lengths, rng, device, likely=(which, likely))
    log(f"told: {len(rows)} rows, {rows.count} tokens, {rows.count / rows.x.numel():.3f} full")
    del told, which, likely
    if device == "cuda":
        torch.cuda.empty_cache()
        log(f"memory in use {torch.cuda.memory_allocated() / 2**30:.1f} GiB")

    # 3. The student
    shape, student = new_student(a, len(pieces), device)
    log(f"student {shape}, {sum(t.numel() for t in student.values())} numbers")

    def save():
        for name, convert in (("student", lambda n, t: {n: t.half()}), ("shipped", q4_0_parts)):
            path, parts = os.path.join(a.out, name), {}
            for n, t in student.items():
                parts.update(convert(n, t.detach()))
            np.savez(
                path + ".part.npz",
                shape=json.dumps(shape),
                **{n: t.cpu().numpy() for n, t in parts.items()},
            )
            os.replace(path + ".part.npz", path + ".npz")

    train_student(student, shape, rows, genuine, valid, a, attend, log, device, a.deadline, save)


if __name__ == "__main__":
    main()
