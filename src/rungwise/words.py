"""How is it said to people? Text from files and functions made harmless to a terminal, numbers with their nouns.

Everything that a study file, a function or a path brings along passes `shown` or `shown_lines` before a person sees
it: a name may hold an escape sequence that repaints the terminal, or half a character that no encoding can write.
Imports nothing of ours.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

PLAIN = {"▲": "^", "ε": "epsilon", "η": "eta", "×": "x", "…": "...", "–": "-", "√": "sqrt", "µ": "u", "≤": "<="}
"""What our own signs become where the encoding has none of them."""
ENCODE_ERRORS = "rungwise"
"""The name of the error handler for streams of any encoding: our signs as in `PLAIN`, others as `\\xe9`."""
_IN_JSON = re.compile(r"[\x7f-\x9f\ud800-\udfff\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def shown(text: object) -> str:
    r"""`text` on one line, with `\x1b` and the like for every character that is not printable.

    As `repr` has it: control characters (also C1 and DEL), what changes the direction of writing, halves of surrogate
    pairs, line ends, and blanks other than the space.

    >>> print(shown("a\x1b[2Jb\n" + chr(0xD800)))
    a\x1b[2Jb\n\ud800
    """
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def shown_lines(text: object) -> str:
    """As `shown`, but lines stay lines: for text that is put together of lines of ours."""
    return "\n".join(map(shown, str(text).split("\n")))


def shown_json(value: Any) -> str:
    r"""`value` as JSON on one line, which any terminal and any encoding of Unicode takes; a reader gets the same value.

    >>> print(shown_json({"é": chr(0xD800) + chr(0x9B)}))
    {"é": "\ud800\u009b"}
    """
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def whole_text(text: str) -> bool:
    """Whether `text` can be written to a file: it holds no half of a surrogate pair."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def counted(number: int, noun: str) -> str:
    """`number` with its noun.

    >>> counted(1, "trial"), counted(3, "trial")
    ('1 trial', '3 trials')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(7.4), duration(83), duration(7_500), duration(200_000)
    ('7 s', '1 min 23 s', '2 h 5 min', '2 d 7 h')
    """
    whole = round(seconds)
    for size, unit, part, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def _escape(character: str) -> str:
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _encodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(c) or _escape(c) for c in error.object[error.start : error.end]), error.end


codecs.register_error(ENCODE_ERRORS, _encodable)
