"""Pack GNU Unifont for the full screen: unifont.bin, which src/unifont.rs reads and explains.

usage: pack.py UNIFONT_OTF UNIFONT_UPPER_OTF OUT    (pip install fonttools==4.68.0 zopfli==0.4.3)

The two fonts are those of Debian's package fonts-unifont 1:15.0.01-2, in
usr/share/fonts/opentype/unifont/, with these SHA-256:

    db1960227adcb14640063e7384fdcd2867aaf819d9ca4866bca289d4db9a9f67  unifont.otf
    29adae95e09d12c0169319669f82ae814dcafef029526c7c1304d07dd0e6fe1c  unifont_upper.otf

Their outlines are pixels, 4 units wide and high; the file has the bits again.
"""

import hashlib
import struct
import sys
import unicodedata

import zopfli.zlib
from fontTools.pens.recordingPen import RecordingPen
from fontTools.ttLib import TTFont
from fontTools.unicodedata import script

# All of the first plane but CJK's extension A and what is private; of the second what people and
# models write: music, mathematical letters, emoji and the symbols among them.
RANGES = [
    (0x0000, 0x3400),
    (0x4DC0, 0xD800),
    (0xF900, 0x10000),
    (0x1D100, 0x1D200),
    (0x1D400, 0x1D800),
    (0x1F000, 0x1FB00),
]
# Never drawn: characters that only change their neighbours, and white space. (Unicode's
# Default_Ignorable_Code_Point; format characters are left out by their category.)
UNSEEN = {0x34F, *range(0x17B4, 0x17B6), *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)}
# Signs around or below numbers in Arabic and Syriac: format characters that are seen.
SEEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2}
# As wide as a letter, but empty.
FILLERS = {0x115F, 0x1160, 0x3164, 0xFFA0}
ABSENT, NARROW, WIDE, NARROW_MARK, WIDE_MARK = range(5)
PAGE = 4096


def pixels(outline):
    """Set of the pixels (column, row from the top) within an outline of whole pixels."""
    rows, contour = {}, []
    for step, points in outline:
        if step in ("moveTo", "lineTo"):
            contour.append(points[0])
            continue
        assert step == "closePath", step
        for (x, y), (x1, y1) in zip(contour, contour[1:] + contour[:1]):
            assert (x == x1 or y == y1) and not (x | y) & 3
            for row in range(min(y, y1) // 4, max(y, y1) // 4):
                rows.setdefault(row, []).append((x // 4, 1 if y1 > y else -1))
        contour = []
    found = set()
    for row, edges in rows.items():
        edges.sort()
        winding = 0
        for (x, turn), (end, _) in zip(edges, edges[1:]):
            winding += turn
            if winding:
                found.update((column, 13 - row) for column in range(x, end))
    return found


def glyphs(path):
    """Code point, kind and rows of 16 bits of each glyph. (A narrow one has the upper 8.)"""
    font = TTFont(path)
    outlines = font.getGlyphSet()
    for code, name in font.getBestCmap().items():
        if not any(first <= code < end for first, end in RANGES) or code in UNSEEN:
            continue
        category = unicodedata.category(chr(code))
        if script(chr(code)) == "Zzzz" or category in ("Cc", "Cf", "Zs") and code not in SEEN:
            continue
        pen = RecordingPen()
        outlines[name].draw(pen)
        found = set() if code in FILLERS else pixels(pen.value)
        kind = NARROW if outlines[name].width == 32 else WIDE
        left = 0
        # A mark has no width: its pixels lie before the pen, or, in scripts from right to left,
        # behind it. It is kept in a box that ends at the pen, or around a narrow letter.
        if outlines[name].width == 0 and found:
            first, last = min(x for x, _ in found), max(x for x, _ in found)
            left = 0 if first >= 0 else -8 if first >= -8 else -16 if last < 0 else -12
            kind = NARROW_MARK if last - left < 8 else WIDE_MARK
        rows = [0] * 16
        for x, y in found:
            if 0 <= x - left < 16:
                rows[y] |= 0x8000 >> x - left
        yield code, kind, rows


def main():
    pages = {}
    for path in sys.argv[1:3]:
        print(hashlib.sha256(open(path, "rb").read()).hexdigest(), path)
        for code, kind, rows in glyphs(path):
            pages.setdefault(code // PAGE, {}).setdefault(code % PAGE, (kind, rows))
    directory, packed = b"", b""
    for number, page in sorted(pages.items()):
        kinds = bytearray(PAGE)
        left, right = [], []
        for place, (kind, rows) in sorted(page.items()):
            kinds[place] = kind
            left += [row >> 8 for row in rows]
            if kind in (WIDE, WIDE_MARK):
                right += [row & 0xFF for row in rows]
        plain = bytes(kinds) + bytes(left) + bytes(right)
        small = zopfli.zlib.compress(plain, numiterations=15)
        directory += struct.pack("<III", number, len(plain), len(small))
        packed += small
        print(f"U+{number * PAGE:05X}: {len(page)} glyphs, {len(plain)} bytes, {len(small)} packed")
    out = b"UNIFONT1" + struct.pack("<I", len(pages)) + directory + packed
    open(sys.argv[3], "wb").write(out)
    print(len(out), "bytes", hashlib.sha256(out).hexdigest())


if __name__ == "__main__":
    main()
