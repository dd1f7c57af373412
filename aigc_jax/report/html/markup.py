"""Pieces of HTML: every text is escaped here, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

VOID = {"img", "br", "meta"}
"""Elements without an end."""


def tag(name: str, *content: str, **attributes: str | None) -> str:
    """An element.

    Args:
        name: of the element.
        *content: markup, as made by the functions of this file.
        **attributes: their values are escaped here; None leaves one out; a trailing underscore in a name is
            dropped, others become hyphens.

    Returns:
        Markup.

    >>> tag("p", text("1 < 2"), class_="soft")
    '<p class="soft">1 &lt; 2</p>'
    """
    pairs = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    start = "".join(f' {key}="{escape(value)}"' for key, value in pairs.items())
    return f"<{name}{start}>" if name in VOID else f"<{name}{start}>{''.join(content)}</{name}>"


def text(words: str) -> str:
    """Words as markup; a number stays on the line of its unit, or of what it is.

    >>> text("<b>")
    '&lt;b&gt;'
    """
    joined_up = re.sub(r"\b([np]) ([=<]) (?=\d)", "\\1\N{NO-BREAK SPACE}\\2\N{NO-BREAK SPACE}", words)
    return escape(joined_up.replace(" %", "\N{NO-BREAK SPACE}%"))


def definitions(facts: Mapping[str, str], **attributes: str | None) -> str:
    """Names and what they stand for; "" for none.

    Args:
        facts: texts by name.
        **attributes: of the list.

    Returns:
        Markup.

    >>> definitions({"n": "1000"})
    '<dl><dt>n</dt><dd>1000</dd></dl>'
    """
    rows = (tag("dt", text(name)) + tag("dd", text(words)) for name, words in facts.items())
    return tag("dl", *rows, **attributes) if facts else ""


def scrolling(content: str, title: str) -> str:
    """What may be wider than a phone: it scrolls in a box of its own, by finger and by keyboard.

    Args:
        content: markup.
        title: what is in it, for those who cannot see it.

    Returns:
        Markup.

    >>> scrolling("", "A table")
    '<div class="scroll" tabindex="0" role="region" aria-label="A table"></div>'
    """
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=title)


def joined(parts: Iterable[str]) -> str:
    r"""The parts that are not empty, a line each.

    >>> joined(["a", "", "b"])
    'a\nb'
    """
    return "\n".join(part for part in parts if part)


def anchor(name: str) -> str:
    """A name that can stand in an address.

    >>> anchor("FD [digits]")
    'FD-digits'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-") or "part"
