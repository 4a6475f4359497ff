"""A port range on one listening socket: a BPF program in front of the kernel's search for a listener (sk_lookup).

Binding every port of a passive range costs a descriptor a port and worker. Instead one socket (or one SO_REUSEPORT
group) listens on the lowest port, the anchor, and a program attached to the network namespace hands it every
connection to the other ports of the range. `getsockname` of what it accepts still tells the port that was dialled.
Where the program selects a member of a group, the group's own program (`steering`) still chooses among the members.

The program (kernel documentation, bpf/prog_sk_lookup; Linux 5.9) in words, once per range:

    if family and address are those of the range, and low < port <= high:
        socket = map[number of the range];  if there is one: assign it, release it, return PASS
    return PASS                                 (nothing selected: the ordinary search goes on)

It is assembled here and loaded with the raw bpf(2) system call; that needs CAP_BPF and CAP_NET_ADMIN (or root) and no
compiler. It is attached while the link's descriptor is open, and gone with the process.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pasvport.address import PortRange, packed
from pasvport.errors import ResourceError

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}

_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _LINK_CREATE = 0, 2, 5, 28
_SOCKMAP = 15
_SK_LOOKUP_PROGRAM, _SK_LOOKUP_ATTACH = 30, 36
_ATTRIBUTES = 144
_LOG_SIZE = 65536

# struct bpf_sk_lookup: where the fields of the context stand.
_FAMILY, _PROTOCOL, _LOCAL_IP4, _LOCAL_IP6, _LOCAL_PORT = 8, 12, 40, 44, 60

# Registers, opcodes (linux/bpf.h) and helper functions, the few that the program needs.
_R0, _R1, _R2, _R3, _R6, _R7, _R10 = 0, 1, 2, 3, 6, 7, 10
_LOAD_WORD, _STORE_WORD_NOW = 0x61, 0x62
_MOVE, _MOVE_NOW, _ADD_NOW = 0xBF, 0xB7, 0x07
_JUMP_NOT_EQUAL, _JUMP_LESS, _JUMP_GREATER, _JUMP_EQUAL = 0x56, 0xA6, 0x26, 0x15
_LOAD_MAP, _CALL, _EXIT = 0x18, 0x85, 0x95
_FROM_MAP_DESCRIPTOR = 1
_MAP_LOOKUP, _SK_RELEASE, _SK_ASSIGN = 1, 86, 124
_PASS = 1


@dataclass(frozen=True, slots=True)
class Steered:
    """One range: connections to `host` (a literal; any-address for all) and `ports` go to the listener `anchor`."""

    host: str
    ports: PortRange
    anchor: socket.socket


def _op(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    signed = value - (1 << 32) if value >= 1 << 31 else value
    return struct.pack("=BBhi", code, target | source << 4, offset, signed)


def _words(address: bytes) -> list[int]:
    # The context holds addresses in network order; a 32-bit load of it compares with the same bytes read natively.
    return [int(word[0]) for word in struct.iter_unpack("=I", address)]


def _conditions(steered: Steered) -> list[tuple[int, int, int]]:
    """(offset in the context, jump opcode that leaves, value): every one must not jump."""
    address = packed(steered.host)
    ipv6 = len(address) == 16
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    base = _LOCAL_IP6 if ipv6 else _LOCAL_IP4
    checks = [(_PROTOCOL, _JUMP_NOT_EQUAL, socket.IPPROTO_TCP), (_FAMILY, _JUMP_NOT_EQUAL, int(family))]
    if any(address):
        checks += [(base + 4 * number, _JUMP_NOT_EQUAL, word) for number, word in enumerate(_words(address))]
    checks.append((_LOCAL_PORT, _JUMP_LESS, steered.ports.low))
    checks.append((_LOCAL_PORT, _JUMP_GREATER, steered.ports.high))
    return checks


def _selection(socket_map: int, number: int) -> list[bytes]:
    return [
        _op(_STORE_WORD_NOW, _R10, offset=-4, value=number),
        _op(_LOAD_MAP, _R1, _FROM_MAP_DESCRIPTOR, value=socket_map),
        _op(0),
        _op(_MOVE, _R2, _R10),
        _op(_ADD_NOW, _R2, value=-4),
        _op(_CALL, value=_MAP_LOOKUP),
        _op(_JUMP_EQUAL, _R0, offset=7),
        _op(_MOVE, _R7, _R0),
        _op(_MOVE, _R1, _R6),
        _op(_MOVE, _R2, _R7),
        _op(_MOVE_NOW, _R3, value=0),
        _op(_CALL, value=_SK_ASSIGN),
        _op(_MOVE, _R1, _R7),
        _op(_CALL, value=_SK_RELEASE),
        _op(_MOVE_NOW, _R0, value=_PASS),
        _op(_EXIT),
    ]


def program(ranges: Sequence[Steered], socket_map: int) -> bytes:
    """The program's instructions, eight bytes each, for a sockmap that holds the listener of range N under key N."""
    code = [_op(_MOVE, _R6, _R1)]
    for number, steered in enumerate(ranges):
        selection = _selection(socket_map, number)
        checks = _conditions(steered)
        for position, (offset, jump, value) in enumerate(checks):
            # Two instructions a check; a jump leaves out the checks that follow and the selection.
            rest = 2 * (len(checks) - position - 1) + len(selection)
            code.append(_op(_LOAD_WORD, _R2, _R6, offset))
            code.append(_op(jump, _R2, offset=rest, value=value))
        code.extend(selection)
    return b"".join([*code, _op(_MOVE_NOW, _R0, value=_PASS), _op(_EXIT)])


class PortRanges:
    """The ranges of one process, attached while this object is open. Raises ResourceError where it cannot be done."""

    def __init__(self, ranges: Sequence[Steered]) -> None:
        self._descriptors: list[int] = []
        self.ranges = tuple(ranges)
        """What is steered, as it was given."""
        try:
            self._map = socket_map = self._keep(
                _bpf(_MAP_CREATE, struct.pack("=5I", _SOCKMAP, 4, 8, max(1, len(ranges)), 0))
            )
            self._put_anchors()
            loaded = self._keep(_load(program(ranges, socket_map)))
            namespace = self._keep(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            self._keep(_bpf(_LINK_CREATE, struct.pack("=4I", loaded, namespace, _SK_LOOKUP_ATTACH, 0)))
        except OSError as error:
            self.close()
            raise ResourceError(f"port ranges on one socket refused by the kernel: {error.strerror}") from error

    def _keep(self, descriptor: int) -> int:
        os.set_inheritable(descriptor, False)
        self._descriptors.append(descriptor)
        return descriptor

    def _put_anchors(self) -> None:
        for number, steered in enumerate(self.ranges):
            _put(self._map, number, steered.anchor.fileno())

    def listen_again(self) -> None:
        """After a pause: the kernel forgot the anchors when they stopped listening. Raises ResourceError."""
        try:
            self._put_anchors()
        except OSError as error:
            raise ResourceError(f"port ranges on one socket refused by the kernel: {error.strerror}") from error

    def close(self) -> None:
        """Detach: the ports of the ranges, anchors aside, belong to nobody again."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALL.get(os.uname().machine)
    if number is None:
        raise OSError(38, os.strerror(38))
    buffer = ctypes.create_string_buffer(attributes.ljust(_ATTRIBUTES, b"\0"), _ATTRIBUTES)
    result: int = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, _ATTRIBUTES)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _put(socket_map: int, number: int, listener: int) -> None:
    key, value = struct.pack("=I", number), struct.pack("=Q", listener)
    key_buffer, value_buffer = ctypes.create_string_buffer(key, 4), ctypes.create_string_buffer(value, 8)
    places = (ctypes.addressof(key_buffer), ctypes.addressof(value_buffer))
    _bpf(_MAP_UPDATE, struct.pack("=IIQQQ", socket_map, 0, *places, 0))


def _load(instructions: bytes) -> int:
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(_LOG_SIZE)
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        _SK_LOOKUP_PROGRAM,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        1,
        _LOG_SIZE,
        ctypes.addressof(log),
        0,
        0,
        b"pasvport",
        0,
        _SK_LOOKUP_ATTACH,
    )
    return _bpf(_PROG_LOAD, attributes)
