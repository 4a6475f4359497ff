"""Expressions judged in their proxies: what needs `mode ftp`, the map files they look into, the names these give."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

from pasvport.config.diagnostics import Form, Severity, nearest
from pasvport.config.draft import ProxyDraft, Said
from pasvport.config.judged import Judged, titled
from pasvport.config.keywords_ftp import is_dynamic
from pasvport.config.maps import maps_of, read_map
from pasvport.config.syntax import Line
from pasvport.errors import ConfigError
from pasvport.model import Expression, Mode
from pasvport.sample.converters import MAP_CONVERTERS
from pasvport.sample.expressions import needs_ftp

_MOST_TOLD = 10


def expressions(proxy: ProxyDraft) -> Iterator[Said[Expression]]:
    """Every expression of a proxy, once."""
    yield from _choices(proxy)
    yield from _keys(proxy)


def _choices(proxy: ProxyDraft) -> Iterator[Said[Expression]]:
    if proxy.is_frontend:
        yield from proxy.use_backend
    if proxy.is_backend:
        yield from proxy.use_server


def _keys(proxy: ProxyDraft) -> Iterator[Said[Expression]]:
    if not proxy.is_backend:
        return
    by_line = {str(rule.line.origin): rule for rule in proxy.stick_rules}
    for rule in by_line.values():
        word = rule.line.words[2] if len(rule.line.words) > 2 else None
        yield Said(rule.expression, rule.line, word)
    if proxy.hash_said is not None and proxy.hash_said.value is proxy.balance.expression:
        yield proxy.hash_said


def ftp_fetches(judged: Judged) -> None:
    """`ftp.user` and `ftp.host` in a proxy that knows no users, and names found by expressions elsewhere."""
    others = [proxy for proxy in judged.started if proxy.mode is not Mode.FTP]
    for proxy in others:
        dynamic = {id(rule) for rule in proxy.use_backend if is_dynamic(rule.word)} if proxy.is_frontend else set()
        for said in expressions(proxy):
            if id(said) in dynamic:
                text = f"{titled(proxy)} : 'use_backend %[...]' is not supported yet in 'mode {proxy.mode}'."
                judged.diagnostics.alert(said.line, text, word=said.word)
            elif needs_ftp(said.value):
                text = f"{titled(proxy)} : '{said.value.fetch}' needs 'mode ftp', not 'mode {proxy.mode}'."
                judged.diagnostics.alert(said.line, text, word=said.word)


# --- files --------------------------------------------------------------------------------------------------------


def map_files(judged: Judged) -> None:
    """Read every map that some expression names; each that cannot be used is told once, where it is named first."""
    tried: set[tuple[str, str]] = set()
    bases: dict[str, str] = {}
    for proxy, said, base in _where_read(judged):
        for named in maps_of(said.value):
            path = named[1]
            if bases.setdefault(path, base) != base and not path.startswith("/"):
                text = f"{titled(proxy)} : 'default-path' makes '{path}' another file here than above."
                judged.diagnostics.alert(said.line, text, word=said.word)
            elif named not in tried:
                tried.add(named)
                _map_file(judged, proxy, said, named, base)


def _where_read(judged: Judged) -> Iterator[tuple[ProxyDraft, Said[Expression], str]]:
    """Every expression, and where relative paths in it begin: HAProxy reads the maps of choices after all text."""
    for proxy in judged.proxies:
        for said in _choices(proxy):
            yield proxy, said, ""
        for said in (*_keys(proxy), *_logged(judged, proxy)):
            yield proxy, said, _base(judged, said.line)


def _logged(judged: Judged, proxy: ProxyDraft) -> Iterator[Said[Expression]]:
    """The expressions of the log formats that name a map. One that is wrong is told elsewhere."""
    for _, said in proxy.formats() if proxy.is_frontend else ():
        if "map" in said.value:
            with suppress(ConfigError):
                found = judged.world.check_log_format(said.value)
                yield from (Said(each, said.line, said.word) for each in found)


def _base(judged: Judged, line: Line) -> str:
    """Where `default-path` lets the paths of a line begin."""
    mode, origin = judged.settings.default_path
    folder = posixpath.dirname(line.origin.file)
    return {"config": folder, "parent": posixpath.join(folder, ".."), "origin": origin}.get(mode, "")


def _map_file(judged: Judged, proxy: ProxyDraft, said: Said[Expression], named: tuple[str, str], base: str) -> None:
    converter, path = named
    try:
        if path not in judged.maps:
            judged.maps[path] = read_map(path, judged.world, base)
        if converter == "map_reg":
            judged.maps[path].check_expressions()
    except ConfigError as error:
        text = f"{titled(proxy)} : invalid args in converter '{converter}' : {error}."
        judged.diagnostics.add(Severity.ALERT, said.line, text, word=said.word, form=Form.LEXER)


# --- names --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Named:
    """A name that a rule may give, and where it stands: a line of a map, or the rule itself."""

    name: str
    place: str


def names_given(judged: Judged, expression: Expression) -> Iterator[Named]:
    """The names an expression may give, as far as they can be known before there is a session."""
    last = expression.converters[-1] if expression.converters else None
    if last is None and expression.fetch == "str":
        yield Named(expression.args[0], "the rule")
    if last is None or last.name not in MAP_CONVERTERS:
        return
    found = judged.maps.get(last.args[0])
    for entry in found.entries if found is not None else ():
        yield Named(entry.value, f"{last.args[0]}:{entry.line}")
    if len(last.args) == 2:
        yield Named(last.args[1], "the map's default")


def rule_names(judged: Judged) -> None:
    """A name that is not that of a backend or server: the rule would do nothing for those users."""
    for proxy in judged.started:
        if proxy.is_frontend:
            for said in (rule for rule in proxy.use_backend if is_dynamic(rule.word)):
                _names(judged, proxy, said, "use_backend", "backend", judged.backends)
        if proxy.is_backend:
            servers = {server.name for server in proxy.servers} | proxy.attempted_servers
            for said in proxy.use_server:
                _names(judged, proxy, said, "use-server", "server", servers)


def _names(
    judged: Judged, proxy: ProxyDraft, said: Said[Expression], rule: str, kind: str, known: Collection[str]
) -> None:
    lost = [named for named in names_given(judged, said.value) if named.name not in known]
    for named in lost[:_MOST_TOLD]:
        text = f"{titled(proxy)} : {named.place} of '{rule}' names {kind} '{named.name}', which does not exist."
        judged.diagnostics.warn(said.line, text, word=said.word, suggestion=nearest(named.name, known) or "")
    if len(lost) > _MOST_TOLD:
        more = len(lost) - _MOST_TOLD
        text = f"{titled(proxy)} : {more} more lines of that map name a {kind} that does not exist."
        judged.diagnostics.warn(said.line, text, word=said.word)
