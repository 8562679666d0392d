"""PDFs for tests, written by hand so that each says just what we want. `python -m` makes the sample."""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from pypdf import PdfReader, PdfWriter

Line = tuple[int, str]
"""Font size in points, and what it says (Latin-1)."""


def text_pdf(*pages: Sequence[Line]) -> bytes:
    """A PDF with a page of Helvetica for each argument."""
    return assemble([_content(page) for page in pages])


def scan_pdf(pages: int = 1) -> bytes:
    """A PDF that only draws: no text layer."""
    return assemble([b"0.5 g 72 72 400 600 re f"] * pages)


def bomb_pdf(megabytes: int) -> bytes:
    """A page whose content unpacks to so many megabytes of blanks."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b" " * 2**20) for _ in range(megabytes)) + packer.flush()
    return assemble([packed], b"/Filter /FlateDecode")


def encrypted(pdf: bytes, password: str, algorithm: str = "AES-256") -> bytes:
    """The same with a password for its reader; the empty one opens by itself."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    writer.encrypt(password, owner_password="owner", algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def assemble(contents: Sequence[bytes], stream_entries: bytes = b"") -> bytes:
    """A PDF with one page for each content stream."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(contents)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(contents)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, content in enumerate(contents):
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(page + b" /Contents %d 0 R >>" % (5 + 2 * number))
        entries = b"/Length %d %s" % (len(content), stream_entries)
        objects.append(b"<< %s >>\nstream\n%s\nendstream" % (entries, content))
    return _file(objects)


def _content(lines: Sequence[Line]) -> bytes:
    out, y = [b"BT"], 780
    for size, text in lines:
        escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("cp1252")
        out.append(b"/F1 %d Tf 1 0 0 1 72 %d Tm (%s) Tj" % (size, y, escaped))
        y -= round(size * 1.5)
    return b"\n".join([*out, b"ET"])


def _file(objects: Sequence[bytes]) -> bytes:
    out, offsets = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def _paragraphs(text: str, size: int = 11) -> list[Line]:
    return [(size, line) for line in text.strip("\n").split("\n")]


REPORT = (
    [
        (20, "Wren Valley Water Trust"),
        (14, "River report, autumn 2025"),
        (11, ""),
        *_paragraphs(
            """
Between 1 September and 30 November our 23 volunteers took 412 samples
at eleven points along the Wren. This report says what they found.

Summary
- Phosphate fell at eight of eleven points. The largest drop was at Tanner's
  Bridge: 0.31 to 0.12 mg per litre, after the sewer was relined in June.
- Dissolved oxygen was above 8 mg per litre everywhere except at Low Weir,
  where it fell to 4.9 on 12 September after nine dry days.
- We counted 67 trout redds, against 41 in 2024 and 38 in 2023.
- One pollution incident: about 200 litres of heating oil from a farm tank
  on 4 October. It was reported within the hour and boomed off by evening.

Phosphate, mg per litre (mean of the season)

    Point                    2024      2025
    Source Farm              0.04      0.04
    Mill Ford                0.11      0.09
    Tanner's Bridge          0.31      0.12
    Low Weir                 0.22      0.24
    Town Quay                0.19      0.15

Low Weir is the exception, and it worries us. The outfall there serves
620 houses; its storm tank spilled on 19 days of the 91.
"""
        ),
    ],
    [
        (14, "What we ask for"),
        (11, ""),
        *_paragraphs(
            """
1. Wren Utilities publishes the spill times of the Low Weir tank within
   24 hours, as it already does for Town Quay.
2. The county fences the east bank between Mill Ford and Low Weir
   before lambing, at an estimated cost of £6,200.
3. The Trust buys two continuous oxygen probes (£1,450 each). We have
   raised £1,900 of the £2,900 so far.

Thanks
To the Scouts of Upper Wren for 61 early mornings, to Hartley's Garage
for the loan of the van, and to Dr. Amara Nwosu, who checked our sums.

Next sampling day: Sunday 11 January 2026, 8:30, Mill Ford car park.
Contact: samples@wrenvalley.example
"""
        ),
    ],
)
"""The sample that a new user runs: tests/samples/river-report.pdf."""


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(text_pdf(*REPORT))
