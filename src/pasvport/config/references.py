"""What can only be judged when everything was read: references, leftovers, and what a proxy lacks.

Every check is a function of the whole (`Judged`) and is listed in CHECKS. Source: what HAProxy 2.6 says after parsing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pasvport.address import Family
from pasvport.config.diagnostics import Diagnostics, Form, Severity, nearest
from pasvport.config.draft import GlobalDraft, ProxyDraft, Said, ServerDraft, StickRuleDraft
from pasvport.config.expressions import fits
from pasvport.config.syntax import Line, Word
from pasvport.config.world import World
from pasvport.errors import ConfigError
from pasvport.model import Bind, CheckKind, KeyType, Mode, PortMap, StepKind

MISSING_TIMEOUTS = (
    "missing timeouts for {proxy}.\n"
    "   | While not properly invalid, you will certainly encounter various problems\n"
    "   | with such a configuration. To fix this, please ensure that all following\n"
    "   | timeouts are set to a non-zero value: 'client', 'connect', 'server'."
)


@dataclass(slots=True)
class Judged:
    """All drafts, and where to complain."""

    settings: GlobalDraft
    proxies: list[ProxyDraft]
    diagnostics: Diagnostics
    world: World
    frontends: dict[str, ProxyDraft] = field(default_factory=dict)
    backends: dict[str, ProxyDraft] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for proxy in self.proxies:
            if proxy.is_frontend:
                self.frontends.setdefault(proxy.name, proxy)
            if proxy.is_backend:
                self.backends.setdefault(proxy.name, proxy)

    @property
    def started(self) -> Iterable[ProxyDraft]:
        """The proxies that are not disabled."""
        return (proxy for proxy in self.proxies if not proxy.disabled)

    def alert(self, line: Line, text: str, word: Word | None = None, suggestion: str = "") -> None:
        """An error in the form that names no line; the line is shown all the same."""
        self.diagnostics.add(Severity.ALERT, line, text, word=word, suggestion=suggestion, form=Form.PLAIN)

    def warn(self, line: Line, text: str, word: Word | None = None) -> None:
        """A warning in the form that names no line."""
        self.diagnostics.add(Severity.WARNING, line, text, word=word, form=Form.PLAIN)


def titled(proxy: ProxyDraft) -> str:
    """`frontend 'f'`, `backend 'b'`, `proxy 'l'`."""
    return f"{proxy.title} '{proxy.name}'"


# --- proxies ------------------------------------------------------------------------------------------------------


def _modes(judged: Judged) -> None:
    for proxy in judged.started:
        if proxy.mode is Mode.TCP:
            continue
        said = proxy.mode_said
        line, word = (said.line, said.word) if said is not None else (proxy.header, None)
        judged.alert(line, f"{titled(proxy)} : only 'mode tcp' is served, not 'mode {proxy.mode}'.", word)


def _http_leftovers(judged: Judged) -> None:
    for proxy in judged.started:
        if proxy.mode is not Mode.TCP:
            continue
        for text, line in proxy.http.items():
            judged.warn(line, text.format(proxy=titled(proxy)))
        for server in proxy.servers:
            if server.cookie and server.line is not None:
                text = f"{titled(proxy)} : ignoring cookie for server '{server.name}' as HTTP mode is disabled."
                judged.warn(server.line, text)
            if server.redir and server.line is not None:
                text = f"{titled(proxy)} : server cannot have cookie or redirect prefix in non-HTTP mode."
                judged.alert(server.line, text)


def _default_backends(judged: Judged) -> None:
    for proxy in judged.started:
        said = proxy.default_backend
        if said is None:
            continue
        found = judged.backends.get(said.value)
        if found is proxy:
            judged.alert(
                said.line, f"Proxy '{proxy.name}': loop detected for default_backend: '{said.value}'.", said.word
            )
        if found is not None:
            continue
        text = f"Proxy '{proxy.name}': unable to find required default_backend: '{said.value}'."
        judged.alert(said.line, text, said.word, nearest(said.value, judged.backends) or "")


def _listeners(judged: Judged) -> None:
    for proxy in judged.started:
        if proxy.is_frontend and not proxy.bind_attempted:
            advice = "Please declare it as a backend if this was intended."
            judged.warn(proxy.header, f"{titled(proxy)} has no 'bind' directive. {advice}")


def _timeouts(judged: Judged) -> None:
    for proxy in judged.started:
        given = {name for name, value in proxy.timeouts.items() if value}
        no_server = "server" not in given and not (proxy.mode is Mode.TCP and "tunnel" in given)
        lacking = proxy.is_frontend and "client" not in given
        lacking |= proxy.is_backend and bool(proxy.servers) and ("connect" not in given or no_server)
        if lacking:
            judged.warn(proxy.header, MISSING_TIMEOUTS.format(proxy=titled(proxy)))


def _ids(judged: Judged) -> None:
    owners: dict[int, ProxyDraft] = {}
    for proxy in judged.proxies:
        if proxy.id is None:
            continue
        owner = owners.setdefault(proxy.id.value, proxy)
        if owner is not proxy:
            text = f"{titled(proxy)} reuses same custom id as {titled(owner)} (declared at {owner.header.origin})."
            judged.diagnostics.alert(proxy.id.line, text, word=proxy.id.word)


# --- logs ---------------------------------------------------------------------------------------------------------


def _log_targets(judged: Judged) -> None:
    for proxy in judged.started:
        if not proxy.is_frontend or proxy.log_format is None:
            continue
        if proxy.log_option == "option httplog":
            text = f"'option httplog' not usable with {titled(proxy)} (needs 'mode http'). "
            judged.diagnostics.warn(proxy.log_format.line, text + "Falling back to 'option tcplog'.")
        has_target = any(log.target is not None or judged.settings.logs for log in proxy.logs)
        if not has_target:
            text = f"log format ignored for {titled(proxy)} since it has no log address."
            judged.warn(proxy.log_format.line, text)


def _log_formats(judged: Judged) -> None:
    seen: set[tuple[str, str]] = set()
    for proxy in judged.started:
        for name, said in (
            ("log-format", proxy.log_format),
            ("log-format-sd", proxy.structured_data),
            ("error-log-format", proxy.error_log_format),
            ("unique-id-format", proxy.unique_id_format),
        ):
            if said is not None and proxy.is_frontend and (name, str(said.line.origin)) not in seen:
                seen.add((name, str(said.line.origin)))
                _log_format(judged, name, said)


def _log_format(judged: Judged, name: str, said: Said[str]) -> None:
    try:
        judged.world.check_log_format(said.value)
    except ConfigError as error:
        text = f"failed to parse {name} : {error}"
        judged.diagnostics.add(Severity.ALERT, said.line, text, word=said.word, form=Form.LEXER)


# --- servers ------------------------------------------------------------------------------------------------------


def _server_names(judged: Judged) -> None:
    for proxy in judged.started:
        first: dict[str, Line] = {}
        for server in proxy.servers:
            if server.line is None:
                continue
            earlier = first.setdefault(server.name, server.line)
            if earlier is not server.line:
                text = (
                    f"{titled(proxy)}, another server named '{server.name}' was already defined at line "
                    f"{earlier.origin.line}, please use distinct names."
                )
                judged.diagnostics.alert(server.line, text, word=server.line.words[1])


def _check_ports(judged: Judged) -> None:
    for proxy in judged.started:
        for server in proxy.servers:
            if server.check and server.line is not None and _lacks_port(server):
                _complain_of_port(judged, proxy, server, server.line)


def _lacks_port(server: ServerDraft) -> bool:
    endpoint = server.check_endpoint or server.endpoint
    local = endpoint is not None and endpoint.family in (Family.UNIX, Family.ABNS, Family.FD)
    return server.port.kind is not PortMap.FIXED and not server.check_port and not local


def _complain_of_port(judged: Judged, proxy: ProxyDraft, server: ServerDraft, line: Line) -> None:
    text = f"{titled(proxy)}: server '{server.name}' has neither service port nor check port"
    if proxy.check_kind is CheckKind.TCP_SCRIPT and proxy.check_steps:
        connects = [step for step in proxy.check_steps if step.kind is StepKind.CONNECT]
        if connects and all(step.port for step in connects):
            return
        text += " nor tcp_check rule 'connect' with port information"
    judged.alert(line, f"config: {text}.", line.words[1] if len(line.words) > 1 else None)


def _tracks(judged: Judged) -> None:
    by_name = {
        (proxy.name, server.name): server
        for proxy in reversed(judged.proxies)
        if proxy.is_backend
        for server in reversed(proxy.servers)
    }
    followed: dict[int, ServerDraft] = {}
    for proxy in judged.started:
        for server in proxy.servers:
            if server.track is None:
                continue
            problem = _track(judged, server, tracked_name(proxy, server.track.value), by_name, followed)
            if problem:
                text = f"'server {proxy.name}/{server.name}' : {problem.format(server=f'{proxy.name}/{server.name}')}"
                judged.diagnostics.add(
                    Severity.ALERT, server.track.line, text, word=server.track.word, form=Form.OBJECT
                )


def tracked_name(proxy: ProxyDraft, track: str) -> tuple[str, str]:
    """`backend/server` of a `track` argument, the own backend being meant where none is named."""
    backend, slash, name = track.rpartition("/")
    return (backend, name) if slash else (proxy.name, track)


def _track(
    judged: Judged,
    server: ServerDraft,
    wanted: tuple[str, str],
    by_name: dict[tuple[str, str], ServerDraft],
    followed: dict[int, ServerDraft],
) -> str:
    """Follow one link, in the order of the text, as HAProxy does; what is wrong with it, "" when it is fine."""
    shown = "/".join(wanted)
    backend = judged.backends.get(wanted[0])
    if backend is None:
        return f"unable to find required proxy '{wanted[0]}' for tracking."
    target = by_name.get(wanted)
    if target is None:
        wrong_line = wanted[1] in backend.attempted_servers
        return "" if wrong_line else f"unable to find required server '{wanted[1]}' for tracking."
    if not (target.check or target.agent or target.track is not None):
        return f"unable to use {shown} for tracking as it does not have any check nor agent enabled."
    link: ServerDraft | None = target
    while link is not None and link is not server:
        link = followed.get(id(link))
    if link is server:
        return f"unable to track {shown} as it belongs to a tracking chain looping back to {{server}}."
    followed[id(server)] = target
    return ""


# --- checks -------------------------------------------------------------------------------------------------------


def _scripts(judged: Judged) -> None:
    for proxy in judged.started:
        if not proxy.is_backend or not proxy.check_steps or proxy.steps_inherited:
            continue
        if proxy.check_kind is not CheckKind.TCP_SCRIPT:
            text = f"{titled(proxy)} uses tcp-check rules without 'option tcp-check', so the rules are ignored."
            judged.warn(proxy.header, text)


def _external_checks(judged: Judged) -> None:
    for proxy in judged.started:
        if not proxy.is_backend or proxy.check_kind is not CheckKind.EXTERNAL:
            continue
        begin = f"Proxy '{proxy.name}' : "
        if not judged.settings.values.get("external_check"):
            text = "'option external-check' unable to find required 'global.external-check'."
            judged.alert(proxy.header, begin + text)
        if proxy.check_command is None:
            text = "'option external-check' unable to find required 'external-check command'."
            judged.alert(proxy.header, begin + text)
        if not judged.settings.insecure_fork:
            text = "'insecure-fork-wanted' not enabled in the global section, 'option external-check' will likely fail."
            judged.warn(proxy.header, begin + text)


# --- stick tables -------------------------------------------------------------------------------------------------


def _stick_rules(judged: Judged) -> None:
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


def _short_keys(judged: Judged) -> None:
    """An IPv4 table cannot hold an IPv6 client: such clients would not stick, which HAProxy does not tell."""
    narrow: dict[str, ProxyDraft] = {}
    for proxy in judged.proxies:
        if proxy.stick_table is not None and proxy.stick_table.key_type is KeyType.IP:
            narrow[proxy.name] = proxy
    told: set[str] = set()
    for frontend in judged.started:
        backend = _backend_of(judged, frontend)
        bind = next((bind for bind in frontend.binds if _takes_ipv6(bind)), None)
        if backend is None or bind is None:
            continue
        for rule in backend.stick_rules:
            name = rule.table.text if rule.table is not None else backend.name
            if name in narrow and name not in told and rule.expression.fetch in _ADDRESSES:
                told.add(name)
                _tell_short_key(judged, narrow[name], frontend, bind)


_ADDRESSES = ("src", "dst", "fc_src", "fc_dst")


def _backend_of(judged: Judged, frontend: ProxyDraft) -> ProxyDraft | None:
    if not frontend.is_frontend:
        return None
    if frontend.default_backend is not None:
        return judged.backends.get(frontend.default_backend.value)
    return frontend if frontend.is_backend else None


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


CHECKS: tuple[Callable[[Judged], None], ...] = (
    _modes,
    _ids,
    _default_backends,
    _listeners,
    _external_checks,
    _scripts,
    _stick_rules,
    _timeouts,
    _log_formats,
    _log_targets,
    _http_leftovers,
    _server_names,
    _tracks,
    _check_ports,
    _short_keys,
)


def judge(judged: Judged) -> None:
    """Run every check."""
    for check in CHECKS:
        check(judged)
