"""Numbers as `set weight`, `set maxconn` and agents write them. Source: HAProxy 2.6.12, observed."""

from __future__ import annotations

import re

from pasvport.model import Algorithm, Balance, HashMethod


def leading_number(text: str) -> tuple[int | None, str]:
    """strtol: the number a text begins with (None if it does not), and what follows."""
    found = re.match(r"\s*([+-]?[0-9]+)", text, re.ASCII)
    return (int(found[1][:20]), text[found.end() :]) if found else (None, text)


def parse_weight(text: str, configured: int) -> tuple[int, str]:
    """A weight as `set weight` takes it, of a server whose line says `configured`: (weight, "") or (0, complaint)."""
    if not text:
        return 0, "Require <weight> or <weight%>."
    value, rest = leading_number(text)
    if value is None:
        return 0, "Empty weight string empty or preceded by garbage"
    if rest == "%":
        relative = min(256, configured * min(value, 25600) // 100)
        return (relative, "") if value >= 0 else (0, "Relative weight must be positive.")
    if not 0 <= value <= 256:
        return 0, "Absolute weight can only be between 0 and 256 inclusive."
    return (value, "") if not rest else (0, "Trailing garbage in weight string")


def is_static(balance: Balance) -> bool:
    """Whether weights are frozen into a map: HAProxy refuses to change them then."""
    if balance.algorithm is Algorithm.STATIC_RR:
        return True
    hashed = balance.algorithm in (Algorithm.SOURCE, Algorithm.HASH)
    return hashed and balance.hash_method is HashMethod.MAP_BASED
