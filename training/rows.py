"""Rows of whole stories, and which stories are good enough, for distil.py."""

import numpy as np
import torch

from llama import BOS, mask_of, masked

PAD, CONTEXT = 0, 512


def split(ids):
    """Return where stories begin, and how long they are."""
    starts = np.flatnonzero(ids == BOS)
    return starts, np.diff(np.append(starts, len(ids)))


def pack(lengths, rng):
    """Return rows as lists of stories, each put where the least room is left (best fit)."""
    rows, room, open_ = [], {}, np.zeros(CONTEXT + 1, np.int64)
    for i in rng.permutation(len(lengths)):
        n = int(lengths[i])
        fits = np.flatnonzero(open_[n:])
        if len(fits):
            left = n + int(fits[0])
            row = room[left].pop()
            open_[left] -= 1
        else:
            row, left = len(rows), CONTEXT
            rows.append([])
        if len(rows[row]) < 7:
            rows[row].append(int(i))
            left -= n
            room.setdefault(left, []).append(row)
            open_[left] += 1
        else:
            rows.append([int(i)])
            room.setdefault(CONTEXT - n, []).append(len(rows) - 1)
            open_[CONTEXT - n] += 1
    return rows


def tables(starts, lengths, rng):
    """Return (positions of each row's tokens, -1 for none; where its stories begin)."""
    rows = pack(lengths, rng)
    at = np.full((len(rows), CONTEXT), -1, np.int64)
    begin = np.full((len(rows), 8), CONTEXT, np.int32)
    for r, row in enumerate(rows):
        here = 0
        for j, i in enumerate(row):
            n = int(lengths[i])
            at[r, here : here + n] = np.arange(starts[i], starts[i] + n)
            begin[r, j] = here
            here += n
    return at, begin


def within_of(begin, ids, attend):
    if attend is masked:
        return mask_of(ids)
    rows = torch.arange(len(begin), device=begin.device, dtype=torch.int32)[:, None] * CONTEXT
    last = torch.full((1,), len(begin) * CONTEXT, device=begin.device, dtype=torch.int32)
    return torch.cat(((rows + begin).flatten(), last))


class Rows:
    """Packed stories on the device: tokens, what follows each, and what the teacher held likely."""

    def __init__(self, ids, starts, lengths, rng, device, likely=None):
        # A story's last token is followed by BOS: that is its end.
        at, begin = tables(starts, lengths, rng)
        at = torch.from_numpy(at).to(device)
        none, at = at < 0, at.clamp(min=0)
        ids = ids.to(device)
        self.begin = torch.from_numpy(begin).to(device)
        self.x = torch.where(none, PAD, ids[at].long()).to(torch.int16)
        self.y = torch.where(none, -1, ids.roll(-1)[at].long()).to(torch.int16)
        self.count = int((~none).sum())
        self.likely = None if likely is None else tuple(t[at] for t in likely)

    def __len__(self):
        return len(self.x)


def eight(ids):
    """Return a number for each run of eight tokens."""
    n = 0
    for i in range(8):
        n = n * 1000003 + ids[i : len(ids) - 7 + i].long()
    return n


def shared(ids, starts, lengths, other):
    """Return each story's share of runs that are in other too."""
    known = eight(other).unique()
    runs = eight(ids)
    place = torch.searchsorted(known, runs).clamp(max=len(known) - 1)
    hit = torch.cat((known[place] == runs, torch.zeros(7, dtype=torch.bool, device=ids.device)))
    total = torch.cat((torch.zeros(1, device=ids.device), hit.double().cumsum(0))).cpu().numpy()
    ends = starts + np.maximum(lengths - 8, 1)
    return (total[ends] - total[starts]) / np.maximum(lengths - 8, 1)


def ends_of(pieces):
    """Return which pieces may end a story."""
    return np.array([p.rstrip()[-1:] in tuple('.!?"') for p in pieces])


def good(told, slots, pieces, held, genuine, a, log):
    """Return the starts and lengths of the stories to learn from."""
    ids = told.cpu().numpy()
    starts, lengths = split(ids)
    column = len(ids) // slots
    whole = (starts + lengths) // column == starts // column
    whole &= (lengths < CONTEXT) & (lengths > a.least)
    log(f"{len(starts)} stories told, {whole.sum()} whole")
    proper = ends_of(pieces)[ids[starts + lengths - 1]]
    # A hero who has a name is named again in the second half.
    names = set(
        """Lily Mia Sara Sarah Anna Amy Lucy Sue Jane Jill Daisy Emma Sally Molly Ella Mary Jenny
        Bella Rosa Nina Lola Zoe Kitty Tom Tim Timmy Ben Max Sam Jack Spot Bob Bobby Joe Mark Fin
        Billy Tommy Benny Jimmy Leo Pip""".split()
    )
    named = np.array([p.strip() in names for p in pieces])
    where = np.flatnonzero(named[ids])
    first = np.searchsorted(where, starts)
    keeps = np.ones(len(starts), bool)
    has = first < len(where)
    begin = where[np.minimum(first, len(where) - 1)] if len(where) else starts
    has &= (begin - starts < 40) & (begin < starts + lengths)
    for i in np.flatnonzero(has & whole):
        half = ids[starts[i] + lengths[i] // 2 : starts[i] + lengths[i]]
        keeps[i] = (half == ids[begin[i]]).any()
    copies = shared(told, starts, lengths, held)
    known = shared(told, starts, lengths, genuine)
    fine = whole & proper & keeps & (copies < 0.25) & (known < 0.7)
    log(
        f"end properly {(proper & whole).sum()}, keep their hero {(keeps & whole).sum()}; "
        f"8-token runs shared with held-out stories: mean {copies[whole].mean():.3f}, "
        f"over a quarter {(copies[whole] >= 0.25).sum()}; with training stories: "
        f"mean {known[whole].mean():.3f}, over 0.7 {(known[whole] >= 0.7).sum()}; "
        f"kept {fine.sum()}, {lengths[fine].sum()} tokens, mean length {lengths[fine].mean():.0f}"
    )
    return starts[fine], lengths[fine]
