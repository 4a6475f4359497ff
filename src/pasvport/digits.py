"""Numbers as the wire and the configuration write them: ASCII digits and nothing else.

`str.isdigit()` takes `¹` and Arabic digits for digits, of which int() understands some and raises for others; and int()
refuses more than 4,300 digits with a ValueError of its own. Both come from outside, so neither is used without this.
"""

from __future__ import annotations

_MOST_DIGITS = 20
"""As many as 64 bits have."""


def is_number(text: str | bytes) -> bool:
    """Whether `text` is one to twenty ASCII digits: what int() can be given."""
    return 0 < len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()


def whole_number(text: str | bytes, highest: int) -> int | None:
    """The number that `text` is, None where is_number() says no or it is above `highest`."""
    value = int(text) if is_number(text) else highest + 1
    return value if value <= highest else None
