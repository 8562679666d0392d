from __future__ import annotations

import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.intake.pdfs import assemble, bomb_pdf, encrypted, scan_pdf, text_pdf
from workers.intake import MAX_BYTES, Empty, ReadDocument, Skipped, Unreadable, read, shown
from workers.intake.pdf import MAX_SENT_BYTES

PDF = text_pdf([(12, "The lease ends on 31 March.")], [(12, "The deposit is returned.")])
PAGE = "<!doctype html><title>Lease</title><p>The lease ends."
GERMAN = "Sehr geehrte Frau Weißenböck, die Miete beträgt 1.073,00 €."
JAPANESE = "断水のお知らせ。作業は3月14日です。\n" * 3
RUSSIAN = "Уважаемые жильцы, воды не будет."


def text_of(content: bytes, name: str = "letter.txt") -> str:
    text = read(content, name).text
    assert text is not None
    return text


def attempt(content: bytes, name: str) -> ReadDocument | Unreadable:
    try:
        return read(content, name)
    except Unreadable as fault:
        return fault


@pytest.mark.parametrize(
    ("content", "name", "media_type"),
    [
        (b"Dear Sir,", "letter.txt", "text/plain"),
        (b"Dear Sir,", "LETTER", "text/plain"),
        (b"# Minutes", "minutes.md", "text/markdown"),
        (b'{"a": 1}', "data.json", "text/plain"),
        (PAGE.encode(), "page.html", "text/html"),
        (b"<p>a fragment</p>", "page.HTM", "text/html"),
        (PAGE.encode(), "invoice.pdf", "text/html"),
        (PAGE.encode("utf-16"), "page.txt", "text/html"),
        (b'<?xml version="1.0"?>\n<!-- made by hand -->\n<html><body>x', "page", "text/html"),
        (b"<note>not a page</note>", "note.xml", "text/plain"),
        (PDF, "lease.pdf", "application/pdf"),
        (PDF, "lease.txt", "application/pdf"),
        (b"junk before\n" + PDF, "lease.pdf", "application/pdf"),
        (b"A PDF begins with %PDF-1.7", "notes.txt", "text/plain"),
        (b"BMW and RIFF are no images here", "cars.txt", "text/plain"),
    ],
)
def test_the_kind_is_told_by_the_content_then_by_the_name(content: bytes, name: str, media_type: str) -> None:
    document = read(content, name)
    assert document.media_type == media_type
    assert document.content == content
    assert document.hash == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "name", "what"),
    [
        (b"PK\x03\x04\x14\0\x06\0" + b"\0" * 20, "report.docx", "a Word document"),
        (b"PK\x03\x04\x14\0\x06\0" + b"\0" * 20, "report.zip", "a ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "report.doc", "an old Office document"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "photo.txt", "a PNG image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "photo.jpg", "a JPEG image"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "log.gz", "a gzip archive"),
        (b"{\\rtf1 hello}", "letter.rtf", "an RTF document"),
        (bytes(range(256)) * 16, "x.bin", "binary data"),
        (b"\0" * 1000, "x.txt", "binary data"),
    ],
)
def test_what_we_do_not_read_is_skipped_by_its_name(content: bytes, name: str, what: str) -> None:
    with pytest.raises(Skipped, match=f"^{name}: {what}; text, Markdown, HTML and PDF are read$"):
        read(content, name)


@pytest.mark.parametrize(
    "content", [b"", b" \n\t\r\n", b"\xef\xbb\xbf", "\ufeff\u200b \u2060".encode("utf-16"), "\u3000\u00a0".encode()]
)
@pytest.mark.parametrize("name", ["empty.txt", "empty.md", "empty.html", "empty.pdf"])
def test_blanks_are_an_empty_document(content: bytes, name: str) -> None:
    with pytest.raises(Empty, match=f"^{name}: nothing in it but blanks"):
        read(content, name)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (GERMAN.encode(), GERMAN),
        (GERMAN.encode("utf-8-sig"), GERMAN),
        (GERMAN.encode("cp1252"), GERMAN),
        (GERMAN.encode("utf-16"), GERMAN),
        (GERMAN.encode("utf-16-le"), GERMAN),
        (GERMAN.encode("utf-16-be"), GERMAN),
        (GERMAN.encode("utf-32"), GERMAN),
        (JAPANESE.encode("utf-16"), JAPANESE),
        (JAPANESE.encode("utf-16-le"), JAPANESE),
        (JAPANESE.encode("utf-16-be"), JAPANESE),
        (GERMAN.encode()[:-2], GERMAN[:-2] + "\ufffd"),
        ((GERMAN * 3).encode() + b" \xff", GERMAN * 3 + " \ufffd"),
        (b"a\0 NUL\0 between words, and more words", "a NUL between words, and more words"),
        (b"bell\x07 and \x1b[1mescape, \xed\xa0\x80 a surrogate", "bell and [1mescape, í\xa0€ a surrogate"),
        (b"one\r\ntwo\rthree\x0cfour", "one\ntwo\nthree\nfour"),
        ("a lone \ud800 surrogate".encode("utf-16-le", "surrogatepass"), "a lone \ufffd surrogate"),
    ],
)
def test_text_comes_out_as_it_was_meant(content: bytes, text: str) -> None:
    assert text_of(content) == text


@pytest.mark.parametrize(
    ("text", "encoding", "label"),
    [
        (JAPANESE, "cp932", "Shift_JIS"),
        (JAPANESE, "euc_jp", "EUC-JP"),
        (JAPANESE, "iso2022_jp", "ISO-2022-JP"),
        ("你好,世界", "gb18030", "gb2312"),
        ("你好,世界", "big5", "big5"),
        ("안녕하세요", "cp949", "euc-kr"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (RUSSIAN, "cp1251", "windows-1251"),
        (GERMAN, "cp1252", "iso-8859-1"),
        (GERMAN, "utf-8", "iso-8859-1"),
        (GERMAN, "cp1252", "utf-7"),
        (GERMAN, "cp1252", "no-such-thing"),
        (GERMAN, "utf-16", "gb2312"),
    ],
)
def test_a_page_is_read_in_the_encoding_it_declares_unless_its_bytes_know_better(
    text: str, encoding: str, label: str
) -> None:
    page = f'<html><head><meta charset="{label}"></head><body><p>{text}</p></body></html>'
    assert text_of(page.encode(encoding), "page.html").split() == text.split()


def test_a_page_keeps_what_a_reader_reads() -> None:
    page = """<!doctype html><html><head><title>Lease &amp; deposit</title><style>p{}</style><script>x()</script></head>
    <body><nav><a href="/">Home</a></nav><header><h1>Lease</h1></header>
    <p>Ends <b>soon</b>, see <a href="#s3">section 3</a>, <a href="javascript:go()">here</a> and
    <a href="https://law.example/q?utm=LONG">the law</a>.<img src="data:image/png;base64,AAAA" alt="a seal"></p>
    <ul><li>one</li><li>two<ul><li>below</li></ul></li></ul>
    <table><tr><th>Month</th><th>Rent</th></tr><tr><td>May</td><td>900</td></tr></table>
    <div style="display:none">hidden</div><div hidden>hidden</div><button>Buy</button>
    <footer>Signed in York</footer></body></html>""".replace("LONG", "x" * 200)
    assert text_of(page.encode(), "page.html") == (
        "# Lease\n\nEnds **soon**, see section 3, here and [the law](https://law.example/q).a seal\n\n"
        "- one\n- two\n  - below\n\n| Month | Rent |\n| --- | --- |\n| May | 900 |\n\nSigned in York"
    )


def test_a_page_without_a_headline_goes_under_its_title() -> None:
    assert text_of(b"<title>Lease  &amp;\n deposit</title><p>Ends.</p>", "page.html") == "# Lease & deposit\n\nEnds."


def test_a_page_of_scripts_is_empty() -> None:
    with pytest.raises(Empty):
        read(b"<html><body><script>render()</script></body></html>", "app.html")


def test_a_pdf_is_read_by_its_text_layer() -> None:
    document = read(PDF, "lease.pdf")
    assert document.text == "The lease ends on 31 March.\n\nThe deposit is returned."
    assert document.pages == 2


@pytest.mark.parametrize("content", [scan_pdf(3), text_pdf([(12, "Page 1")], [(12, "Page 2")], [(12, "Page 3")])])
def test_a_scan_has_no_text_and_is_sent_as_it_is(content: bytes) -> None:
    document = read(content, "scan.pdf")
    assert (document.text, document.pages, document.content) == (None, 3, content)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_a_pdf_with_an_empty_password_opens(algorithm: str) -> None:
    assert text_of(encrypted(PDF, "", algorithm), "lease.pdf").startswith("The lease ends")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encrypted(PDF, "secret"), "a PDF with a password: save it without one"),
        (encrypted(PDF, "secret", "RC4-128"), "a PDF with a password: save it without one"),
        (
            encrypted(scan_pdf(), ""),
            "an encrypted PDF without a text layer, which the API refuses: save it unencrypted",
        ),
        (PDF[:200], "a broken PDF"),
        (b"%PDF-1.7\n", "a broken PDF"),
        (b"%PDF-1.7\n" + b"garbage " * 1000, "a broken PDF"),
        (assemble([]), "a PDF without pages"),
        (bomb_pdf(100), "a broken PDF"),
        (
            assemble([b" " * MAX_SENT_BYTES + b" "]),
            "a PDF without a text layer of 21.9 MB, 21.9 MB can be sent: split it",
        ),
    ],
    ids=["password", "old-password", "encrypted-scan", "cut", "header", "garbage", "no-pages", "bomb", "large-scan"],
)
def test_a_pdf_that_cannot_be_used_says_why_in_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as fault:
        read(content, "lease.pdf")
    assert str(fault.value).startswith(f"lease.pdf: {reason}")
    assert str(fault.value).isprintable()


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
def test_a_truncated_pdf_is_read_or_a_fault(keep: float) -> None:
    document = attempt(PDF[: int(len(PDF) * keep)], "lease.pdf")
    assert "broken PDF" in document.reason if isinstance(document, Unreadable) else document.pages in {1, 2}


@pytest.mark.parametrize(
    "content",
    [
        b"x" * 2_000_000,
        b"<html>" + b"<div>" * 200_000 + b"deep",
        b"<html>" + b"<!--" * 200_000 + b"comments",
        b"<html>" + b"<a " + b"x " * 500_000 + b">attributes",
        b"<html>" + b"![" * 500_000,
        b"<html>" + b"[a](" * 300_000,
        b"<html><p>" + b"word " * 400_000,
        b"<html>" + b"<table><tr><td colspan=1000 rowspan=1000>x" * 100,
    ],
    ids=["line", "deep", "comments", "attributes", "images", "links", "paragraph", "spans"],
)
def test_large_and_hostile_text_takes_time_in_proportion(content: bytes) -> None:
    start = time.process_time()
    attempt(content, "large")
    assert time.process_time() - start < 5


def test_a_text_longer_than_a_request_is_a_fault() -> None:
    with pytest.raises(Unreadable, match=r"^log.txt: 33,554,433 characters of text, 33,554,432 are taken: split it$"):
        read(b"x" * (MAX_BYTES + 1), "log.txt")


@given(
    st.one_of(
        st.binary(max_size=2000),
        st.text(max_size=500).map(lambda text: text.encode("utf-16", "surrogatepass")),
        st.text(alphabet="<>/!-[]()=\"' abp\n&;#x\0", max_size=300).map(lambda text: f"<html>{text}".encode()),
        st.builds(
            lambda at, junk: PDF[:at] + junk + PDF[at + len(junk) :],
            st.integers(8, len(PDF)),
            st.binary(min_size=1, max_size=30),
        ),
    ),
    st.sampled_from(["a", "a.txt", "a.md", "a.html", "a.pdf", "a\nb\udcff.txt"]),
)
def test_any_bytes_are_a_document_or_a_fault(content: bytes, name: str) -> None:
    document = attempt(content, shown(name))
    if isinstance(document, Unreadable):
        assert str(document).isprintable()
    elif document.text is not None:
        assert document.text.strip()
        assert "\0" not in document.text
        document.text.encode()  # holds no lone surrogate


@given(st.text(st.characters(codec=None), max_size=100))
def test_any_name_can_be_shown(name: str) -> None:
    assert shown(name).isprintable()
    shown(name).encode()


@pytest.mark.parametrize(
    ("name", "seen"),
    [("Brief für Zoë.txt", "Brief für Zoë.txt"), ("a\nb", "a\\nb"), ("a\udcffb", "a\\xffb"), ("a\u202eb", "a\\u202eb")],
)
def test_odd_letters_of_a_name_are_escaped(name: str, seen: str) -> None:
    assert shown(name) == seen
