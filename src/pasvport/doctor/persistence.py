"""Whether the data connections of a client follow its control connection to one server, in `mode tcp`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum

from pasvport.digits import is_number
from pasvport.doctor.services import Doorway, Service, usable
from pasvport.model import Algorithm, Balance, Converter, Expression, HashMethod, Proxy, StickAction, StickRule

ADDRESS_FETCHES = ("src", "fc_src")
NARROW_FETCHES = ("src_port", "dst_port", "fc_src_port", "fc_dst_port")
"""Never the same for a control connection and its data connections."""
WHOLE_ADDRESS = (32, 128)
"""Bits of an IPv4 and of an IPv6 address."""


class Key(StrEnum):
    """What an expression tells apart. RIGHT: client addresses. WIDE: less than that. NARROW: more."""

    RIGHT = "right"
    WIDE = "wide"
    NARROW = "narrow"


def kind_of(expression: Expression) -> Key:
    """How fine a key is."""
    if expression.fetch in NARROW_FETCHES:
        return Key.NARROW
    if expression.fetch not in ADDRESS_FETCHES:
        return Key.WIDE
    return Key.WIDE if any(map(_widens, expression.converters)) else Key.RIGHT


def _widens(converter: Converter) -> bool:
    if converter.name != "ipmask":
        return False
    return any(_bits(mask) < whole for mask, whole in zip(converter.args, WHOLE_ADDRESS, strict=False))


def _bits(mask: str) -> int:
    """Leading bits of a mask, as a number or written as an address."""
    return int(mask) if is_number(mask) else int(ipaddress.ip_address(mask)).bit_count()


def match_and_store(backend: Proxy) -> Iterator[StickRule]:
    """The match rules for which a store rule with the same key and table exists."""
    stores = {
        (rule.expression.text, rule.table) for rule in backend.stick_rules if rule.action is StickAction.STORE_REQUEST
    }
    for rule in backend.stick_rules:
        if rule.action is StickAction.MATCH and (rule.expression.text, rule.table) in stores:
            yield rule


def hashes_source(balance: Balance) -> bool:
    """`balance` alone sends every connection of an address to one server, while the servers stay the same."""
    if balance.algorithm is Algorithm.SOURCE:
        return True
    expression = balance.expression
    return (
        balance.algorithm is Algorithm.HASH and expression is not None and kind_of(expression) in (Key.RIGHT, Key.WIDE)
    )


def moves_on_change(backend: Proxy) -> bool:
    """Whether that hash sends clients elsewhere when any other server goes or comes back."""
    return backend.balance.hash_method is HashMethod.MAP_BASED


def why_not_kept(control: Proxy, data: Proxy) -> str:
    """Why a client's data connection may reach another server than its control connection; "" when it cannot."""
    if len(data.servers) <= 1:
        return ""
    rules = list(match_and_store(data))
    if rules:
        return _why_tables_differ(control, data, rules)
    if data.stick_rules:
        actions = {rule.action for rule in data.stick_rules}
        if actions == {StickAction.MATCH} and _stored_elsewhere(control, data):
            return ""
        if len(actions) == 1:
            missing = "store" if StickAction.MATCH in actions else "match"
            return f"its stick rules never {missing} a client's server"
        return "its stick rules store one key and match another"
    return _why_hash_fails(control, data)


def _stored_elsewhere(control: Proxy, data: Proxy) -> bool:
    """The control backend stores what the data backend matches."""
    stored = {(rule.expression.text, rule.table) for rule in match_and_store(control)}
    return any((rule.expression.text, rule.table) in stored for rule in data.stick_rules)


def _why_tables_differ(control: Proxy, data: Proxy, rules: list[StickRule]) -> str:
    if control is data or len(usable(control)) <= 1:
        return ""
    ours = {(rule.expression.text, rule.table) for rule in match_and_store(control)}
    if ours & {(rule.expression.text, rule.table) for rule in rules}:
        return ""
    return f"it keeps clients in another table than backend '{control.name}', which has the control connections"


def _why_hash_fails(control: Proxy, data: Proxy) -> str:
    if not hashes_source(data.balance):
        return f"no stick rule, and 'balance {data.balance.algorithm}' gives every connection to another server"
    if control is data:
        return ""
    same = [server.endpoint.host for server in control.servers] == [server.endpoint.host for server in data.servers]
    if same and control.balance == data.balance and not control.stick_rules:
        return ""
    return f"it does not choose as backend '{control.name}' does, which has the control connections"


def shared_backends(service: Service) -> Iterator[tuple[Doorway, Proxy]]:
    """Data doorways with the backends behind them that have more than one server, each backend once."""
    seen: set[str] = set()
    for doorway in service.doorways:
        for backend in doorway.backends:
            if len(usable(backend)) > 1 and backend.name not in seen:
                seen.add(backend.name)
                yield doorway, backend


def narrow_rules(service: Service) -> Iterator[tuple[Proxy, StickRule]]:
    """Stick rules whose key differs between the connections of one session."""
    for _, backend in shared_backends(service):
        for rule in backend.stick_rules:
            if kind_of(rule.expression) is Key.NARROW:
                yield backend, rule


def is_sticky(service: Service) -> bool:
    """Every data connection of a client follows its control connection."""
    kept = all(not why_not_kept(service.backend, backend) for _, backend in shared_backends(service))
    return kept and not any(narrow_rules(service))
