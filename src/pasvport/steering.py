"""Which worker gets a connection: a function of the client's address, computed in the kernel.

Every worker has its own listening socket for each address and port; the sockets of one port form a SO_REUSEPORT
group. A classic BPF program attached to the group (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5, no privilege needed) returns
the index of the socket for each new connection. It hashes all bits of the source address and nothing else, so every
connection of a client lands in the same worker whatever port it dialled, and a stick table keyed by `src` needs
neither a lock nor replication.

The kernel runs the program with the packet positioned at the TCP payload; the IP header is reached through the
SKF_NET_OFF window. Sockets are numbered in the order in which they began to listen.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

from pasvport.errors import ResourceError

SO_ATTACH_REUSEPORT_CBPF = 51
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF, as the unsigned word the instruction holds

# Classic BPF opcodes (linux/bpf_common.h), the few that the program needs.
_LD_BYTE_ABS, _LD_WORD_ABS = 0x30, 0x20
_TAX = 0x07
_ADD_X, _XOR_X = 0x0C, 0xAC
_MUL_K, _RSH_K, _MOD_K = 0x24, 0x74, 0x94
_JEQ_K, _JA = 0x15, 0x05
_RET_A = 0x16

_FOLD = 0x9E3779B1
_MIX_1, _MIX_2 = 0x85EBCA6B, 0xC2B2AE35
_WORD = 0xFFFFFFFF

Instruction = tuple[int, int, int, int]
"""(opcode, jump if true, jump if false, constant)."""


def worker_of(address: bytes, workers: int) -> int:
    """The worker that the program below chooses for a packed address of 4 or 16 bytes."""
    folded = 0
    for (word,) in struct.iter_unpack("!I", address):
        folded = (folded + word) * _FOLD & _WORD
    folded ^= folded >> 16
    folded = folded * _MIX_1 & _WORD
    folded ^= folded >> 13
    folded = folded * _MIX_2 & _WORD
    folded ^= folded >> 16
    return folded % workers


def program(workers: int) -> list[Instruction]:
    """`worker_of` in classic BPF: IPv4 folds one word, IPv6 four, then the same final mixing."""
    ipv4 = _fold_words(12)
    ipv6 = _fold_words(8, 12, 16, 20)
    return [
        (_LD_BYTE_ABS, 0, 0, _NETWORK_HEADER),
        (_RSH_K, 0, 0, 4),
        (_JEQ_K, 0, len(ipv6) + 1, 6),
        *ipv6,
        (_JA, 0, 0, len(ipv4)),
        *ipv4,
        *_shift_xor(16),
        (_MUL_K, 0, 0, _MIX_1),
        *_shift_xor(13),
        (_MUL_K, 0, 0, _MIX_2),
        *_shift_xor(16),
        (_MOD_K, 0, 0, workers),
        (_RET_A, 0, 0, 0),
    ]


def _fold_words(first: int, *others: int) -> list[Instruction]:
    # The first word is folded into nothing; X carries what was folded so far into each further word.
    steps: list[Instruction] = [(_LD_WORD_ABS, 0, 0, _NETWORK_HEADER + first), (_MUL_K, 0, 0, _FOLD)]
    for offset in others:
        steps += [
            (_TAX, 0, 0, 0),
            (_LD_WORD_ABS, 0, 0, _NETWORK_HEADER + offset),
            (_ADD_X, 0, 0, 0),
            (_MUL_K, 0, 0, _FOLD),
        ]
    return steps


def _shift_xor(bits: int) -> list[Instruction]:
    return [(_TAX, 0, 0, 0), (_RSH_K, 0, 0, bits), (_XOR_X, 0, 0, 0)]


def steer(group: Sequence[socket.socket]) -> None:
    """Attach the program to the group of listening sockets of one address and port, in worker order.

    Raises ResourceError where the kernel refuses; the group then works with the kernel's own hash over addresses and
    ports, under which a client's connections spread over the workers.
    """
    code = b"".join(struct.pack("=HBBI", *step) for step in program(len(group)))
    buffer = ctypes.create_string_buffer(code)
    filter_program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    try:
        group[0].setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, filter_program)
    except OSError as error:
        raise ResourceError(f"steering by source address refused by the kernel: {error.strerror}") from error
