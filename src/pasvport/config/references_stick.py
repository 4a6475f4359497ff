"""Which table a stick rule means, and whether its keys fit. Source: what HAProxy 2.6 says after parsing."""

from __future__ import annotations

from dataclasses import replace

from pasvport.address import Family
from pasvport.config.diagnostics import nearest
from pasvport.config.draft import ProxyDraft, StickRuleDraft
from pasvport.config.expressions import fits
from pasvport.config.judged import Judged, titled
from pasvport.config.references_ftp import targets
from pasvport.config.syntax import Line
from pasvport.model import Bind, KeyType, StickAction, StoredType


def stick_rules(judged: Judged) -> None:
    """Every rule names a table that exists and that can hold its keys."""
    tables = {proxy.name: proxy for proxy in judged.proxies if proxy.stick_line is not None}
    for proxy in judged.started:
        complained: set[Line] = set()
        for rule in proxy.stick_rules:
            if rule.line not in complained and _stick_rule(judged, proxy, rule, tables):
                complained.add(rule.line)


def _stick_rule(judged: Judged, proxy: ProxyDraft, rule: StickRuleDraft, tables: dict[str, ProxyDraft]) -> bool:
    name = rule.table.text if rule.table is not None else proxy.name
    owner = tables.get(name)
    if owner is None:
        text = f"Proxy '{proxy.name}': unable to find stick-table '{name}'."
        judged.alert(rule.line, text, rule.table, nearest(name, tables) or "")
        return True
    if owner.stick_table is not None and not fits(rule.expression, owner.stick_table.key_type):
        text = f"Proxy '{proxy.name}': type of fetch not usable with type of stick-table '{name}'."
        judged.alert(rule.line, text, rule.table)
        return True
    return False


def with_servers(judged: Judged) -> None:
    """Add `server_id` and `server_key` to what tables store in which rules of started proxies store, as HAProxy does:
    `show table` then tells where a client sticks."""
    tables = {proxy.name: proxy for proxy in judged.proxies if proxy.stick_table is not None}
    for proxy in judged.started:
        for rule in proxy.stick_rules:
            owner = tables.get(rule.table.text if rule.table is not None else proxy.name)
            if rule.action is StickAction.STORE_REQUEST and owner is not None:
                _store_servers(owner)


def _store_servers(owner: ProxyDraft) -> None:
    assert owner.stick_table is not None
    stores = owner.stick_table.stores
    missing = {"server_id", "server_key"} - {store.name for store in stores}
    owner.stick_table = replace(owner.stick_table, stores=(*stores, *map(StoredType, sorted(missing))))


def short_keys(judged: Judged) -> None:
    """An IPv4 table cannot hold an IPv6 client: such clients would not stick, which HAProxy does not tell."""
    narrow: dict[str, ProxyDraft] = {}
    for proxy in judged.proxies:
        if proxy.stick_table is not None and proxy.stick_table.key_type is KeyType.IP:
            narrow[proxy.name] = proxy
    told: set[str] = set()
    for frontend in judged.started:
        bind = next((bind for bind in frontend.binds if _takes_ipv6(bind)), None)
        if bind is None or not frontend.is_frontend:
            continue
        served = [target for target, _, _ in targets(judged, frontend)]
        for backend, rule in ((target, rule) for target in served for rule in target.stick_rules):
            name = rule.table.text if rule.table is not None else backend.name
            if name in narrow and name not in told and rule.expression.fetch in _ADDRESSES:
                told.add(name)
                _tell_short_key(judged, narrow[name], frontend, bind)


_ADDRESSES = ("src", "dst", "fc_src", "fc_dst")


def _takes_ipv6(bind: Bind) -> bool:
    endpoint = bind.endpoint
    return endpoint.family is Family.IPV6 or (endpoint.family is Family.NAME and endpoint.prefer is Family.IPV6)


def _tell_short_key(judged: Judged, owner: ProxyDraft, frontend: ProxyDraft, bind: Bind) -> None:
    table = owner.stick_table
    assert table is not None  # only owners of a table are asked about
    line = owner.stick_line or owner.header
    judged.diagnostics.warn(
        line,
        f"stick-table '{table.name}' of type ip cannot hold the IPv6 clients of {titled(frontend)} "
        f"(bound at {bind.origin}): they would not stick to their server; use 'type ipv6', which holds both.",
        word=next((word for word in line.words if word.text in ("ip", "ipv4")), None),
    )
