"""What a field of the statistics is, and the words behind the letters of HAProxy's typed output.

Source: HAProxy management guide, section 9.2 ("typed output format").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Value = int | float | str

ORIGINS = {"M": "Metric", "S": "Status", "K": "Key", "C": "Config", "P": "Product"}
NATURES = {
    "G": "Gauge",
    "L": "Limit",
    "m": "Min",
    "M": "Max",
    "R": "Rate",
    "C": "Counter",
    "D": "Duration",
    "A": "Age",
    "T": "Time",
    "N": "Name",
    "O": "Output",
    "a": "Avg",
}
SCOPES = {"C": "Cluster", "P": "Process", "S": "Service", "s": "System"}
_BITS = {"u32": 32, "u64": 64}


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `tags` are origin, nature, scope; `kind` is u32, u64, s32, flt or str; `doc` says it in a line.

    `position` is the number that typed and JSON output give it.
    """

    position: int
    name: str
    tags: str
    kind: str
    doc: str

    def fit(self, value: Value) -> Value:
        """The value as its kind holds it: unsigned ones never fall below 0 and stay within their bits."""
        bits = _BITS.get(self.kind)
        return value if bits is None or isinstance(value, str) else min(max(0, int(value)), (1 << bits) - 1)

    def json_tags(self) -> Mapping[str, str]:
        """The letters as words."""
        return {"origin": ORIGINS[self.tags[0]], "nature": NATURES[self.tags[1]], "scope": SCOPES[self.tags[2]]}


def quoted(text: str) -> str:
    """Documentation at the end of a line, in quotes, as `desc` adds it."""
    escaped = text.replace('"', '""')
    return f'"{escaped}"'
