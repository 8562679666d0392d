"""HTML to Markdown: headings, lists, tables and links stay, what a reader does not read goes.

`html_to_markdown` does the work, without recursion and in linear time. What is nested deeper than about a thousand
elements is lost.
"""

from __future__ import annotations

import html
import re

from workers.intake.document import Parsed, Unreadable, checked
from workers.intake.encoding import decode, tidy

_CHROME = (
    "nav, script, style, noscript, template, svg, iframe, button, select, textarea, dialog, "
    "[role=navigation], [role=search], [role=menu], [aria-hidden=true]"
)
"""Machinery and navigation of a page. Headers, footers and asides stay: they hold titles, dates and conditions."""

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)
_DECLARED_WITHIN = 4096
_HEADLINE = re.compile(r"^# ", re.MULTILINE)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,500})", re.IGNORECASE)

# Every repetition is bounded and none can begin where another goes on: hostile text takes linear time.
_ADDRESS = r"<[^<>\n]{0,4000}>|[^()\s]{0,4000}(?:\([^()\s]{0,500}\)[^()\s]{0,500}){0,3}"
_TARGET = rf"""\(({_ADDRESS})(?: "[^"\n]{{0,500}}")?\)"""
_IMAGE = re.compile(rf"!\[([^\[\]\n]{{0,500}})\]{_TARGET}")
_LINK = re.compile(rf"\[([^\[\]\n]{{0,500}})\]{_TARGET}")
_LONGEST_LINK = 100
"""Characters of an address worth their tokens; beyond it are tracking marks and session keys."""


def parse(content: bytes, name: str) -> Parsed:
    """The page as Markdown, under its title where it has no headline of its own.

    Raises `Empty`, or `Unreadable` when it cannot be converted.
    """
    page = tidy(decode(content, _declared(content)))
    markdown = _LINK.sub(_short_link, _IMAGE.sub(r"\1", _convert(page, name))).strip()
    return Parsed(checked(_with_title(page, markdown), name))


def _convert(page: str, name: str) -> str:
    from html_to_markdown import ConversionOptions, PreprocessingOptions, convert, exceptions

    options = ConversionOptions(
        bullets="-",
        compact_tables=True,
        exclude_selectors=_CHROME.split(", "),
        extract_metadata=False,
        preprocessing=PreprocessingOptions(enabled=False),  # it takes a <header> with the headline for navigation
        sup_symbol="^",
    )
    try:
        return convert(page, options).content or ""
    except (exceptions.ConversionError, ValueError):
        raise Unreadable(name, "HTML that cannot be converted: save the page as text or PDF") from None


def _declared(content: bytes) -> str | None:
    found = _DECLARED.search(content, 0, _DECLARED_WITHIN)
    return found[1].decode("ascii", "ignore") if found else None


def _with_title(page: str, markdown: str) -> str:
    found = _TITLE.search(page)
    title = " ".join(html.unescape(found[1]).split()) if found else ""
    return markdown if not title or _HEADLINE.search(markdown, 0, 2000) else f"# {title}\n\n{markdown}"


def _short_link(found: re.Match[str]) -> str:
    """`[text](address)`; the text alone where the address leads nowhere outside the page."""
    text, address = found[1], found[2].strip("<>")
    if not address or address.startswith(("#", "javascript:", "data:")):
        return text
    if len(address) > _LONGEST_LINK:
        address = re.split(r"[?#]", address, maxsplit=1)[0]
    if len(address) > _LONGEST_LINK:
        address = f"{address[:_LONGEST_LINK]}..."
    return f"[{text}]({address})"
