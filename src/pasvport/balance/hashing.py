"""The hash functions of `hash-type`, bit for bit: 32-bit unsigned results over a byte string.

Public algorithms: sdbm and djb2 (the libraries of those names), crc32 (IEEE 802.3), wt6 (HAProxy's own), and the
integer mix of Bob Jenkins (http://burtleburtle.net/bob/hash/integer.html) that HAProxy calls avalanche.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from pasvport.model import HashFunction

Hash = Callable[[bytes], int]

_MASK = 0xFFFFFFFF


def sdbm(data: bytes) -> int:
    """hash = byte + 65599 x hash."""
    value = 0
    for byte in data:
        value = (byte + value * 65599) & _MASK
    return value


def djb2(data: bytes) -> int:
    """hash = 33 x hash + byte, from 5381."""
    value = 5381
    for byte in data:
        value = (value * 33 + byte) & _MASK
    return value


def _rotated(value: int, steps: int) -> int:
    return (value << steps | value >> (32 - steps)) & _MASK


def wt6(data: bytes) -> int:
    """Two crossed registers whose rotations depend on the data."""
    first, second = 0xA53C965A, 0x5CA6953A
    left, right = 6, 18
    for byte in data:
        mixed = ~(first ^ byte) & _MASK
        second = ~(second + byte) & _MASK
        first, second = _rotated(second, left), _rotated(mixed, right)
        low = (first >> 16 ^ second) & 0xFFFF
        left, right = low & 0x1F, low >> 11
    return first ^ second


def none(data: bytes) -> int:
    """The key is the hash: leading decimal digits, with a sign, as a number (HAProxy 2.8 and later)."""
    text = data.decode("latin-1")
    sign = -1 if text[:1] == "-" else 1
    digits = text[1:] if text[:1] in ("-", "+") else text
    value = 0
    for digit in digits:
        if not "0" <= digit <= "9":
            break
        value = value * 10 + int(digit)
    return sign * value & _MASK


def avalanche(value: int) -> int:
    """Spreads a 32-bit number over all 32 bits."""
    value = ((value + 0x7ED55D16) + (value << 12)) & _MASK
    value = (value ^ 0xC761C23C) ^ (value >> 19)
    value = ((value + 0x165667B1) + (value << 5)) & _MASK
    value = ((value + 0xD3A2646C) ^ (value << 9)) & _MASK
    value = ((value + 0xFD7046C5) + (value << 3)) & _MASK
    value = (value ^ 0xB55A4F09) ^ (value >> 16)
    # HAProxy multiplies by 3 x 2^30 + 1, so that the values go all around its ring.
    return value * 3221225473 & _MASK


def address(packed: bytes) -> int:
    """`balance source`: the 32-bit words of an address, XORed. `hash-type`'s function does not apply to it."""
    value = 0
    for start in range(0, len(packed) - 3, 4):
        value ^= int.from_bytes(packed[start : start + 4], "big")
    return value


FUNCTIONS: dict[HashFunction, Hash] = {
    HashFunction.SDBM: sdbm,
    HashFunction.DJB2: djb2,
    HashFunction.WT6: wt6,
    HashFunction.CRC32: crc32,
    HashFunction.NONE: none,
}


def spread(function: Hash) -> Hash:
    """`function` followed by avalanche."""

    def hashed(data: bytes) -> int:
        return avalanche(function(data))

    return hashed
