"""What can only be judged when everything was read: references, leftovers, and what a proxy lacks.

Every check is a function of the whole (`Judged`) and is listed in CHECKS. Source: what HAProxy 2.6 says after parsing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pasvport.address import Endpoint, Family
from pasvport.config.diagnostics import Form, Severity, nearest
from pasvport.config.draft import ProxyDraft, Said, ServerDraft
from pasvport.config.judged import Judged, titled
from pasvport.config.keywords_stats import statistics_only
from pasvport.config.keywords_tls import nothing_to_act_on
from pasvport.config.references_binds import bound_twice
from pasvport.config.references_ftp import FTP_CHECKS
from pasvport.config.references_maps import ftp_fetches, map_files, rule_names
from pasvport.config.references_stick import short_keys, stick_rules
from pasvport.config.syntax import Line
from pasvport.errors import ConfigError
from pasvport.model import CheckKind, CheckStep, Mode, PortMap, StepKind

MISSING_TIMEOUTS = (
    "missing timeouts for {proxy}.\n"
    "   | While not properly invalid, you will certainly encounter various problems\n"
    "   | with such a configuration. To fix this, please ensure that all following\n"
    "   | timeouts are set to a non-zero value: 'client', 'connect', 'server'."
)


# --- proxies ------------------------------------------------------------------------------------------------------


def _http_leftovers(judged: Judged) -> None:
    for proxy in judged.started:
        if proxy.mode is Mode.HTTP:
            continue
        for leftover in proxy.http.values():
            if leftover.side & proxy.side:
                judged.warn(leftover.line, leftover.text.format(proxy=titled(proxy)))
        for server in proxy.servers:
            _http_words(judged, proxy, server)


def _http_words(judged: Judged, proxy: ProxyDraft, server: ServerDraft) -> None:
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
        no_server = "server" not in given and not (proxy.mode is not Mode.HTTP and "tunnel" in given)
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
        if proxy.log_option == "option httplog" and proxy.mode is not Mode.HTTP:
            text = f"'option httplog' not usable with {titled(proxy)} (needs 'mode http'). "
            judged.diagnostics.warn(proxy.log_format.line, text + "Falling back to 'option tcplog'.")
        has_target = any(log.target is not None or judged.settings.logs for log in proxy.logs)
        if not has_target:
            text = f"log format ignored for {titled(proxy)} since it has no log address."
            judged.warn(proxy.log_format.line, text)


def _log_formats(judged: Judged) -> None:
    seen: set[tuple[str, str]] = set()
    for proxy in judged.started:
        for name, said in proxy.formats() if proxy.is_frontend else ():
            if (name, str(said.line.origin)) not in seen:
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
        script = proxy.check_steps if proxy.check_kind is CheckKind.TCP_SCRIPT else ()
        for server in proxy.servers:
            problem = portless(server, script)
            if problem and server.line is not None:
                word = server.line.words[1] if len(server.line.words) > 1 else None
                judged.alert(server.line, f"config: {titled(proxy)}: {problem}", word)


def portless(server: ServerDraft, script: Sequence[CheckStep]) -> str:
    """What is wrong with a server whose checks have no port to go to; "" where nothing is. `script` is tcp-check's."""
    if not server.check or not _lacks_port(server):
        return ""
    text = f"server '{server.name}' has neither service port nor check port"
    if not script:
        return text + "."
    connects = [step for step in script if step.kind is StepKind.CONNECT]
    if connects and all(step.port for step in connects):
        return ""
    return text + " nor tcp_check rule 'connect' with port information."


def _lacks_port(server: ServerDraft) -> bool:
    if server.port.kind is PortMap.FIXED or server.check_port:
        return False
    named = (each for each in (server.check_endpoint, server.endpoint) if each is not None and not _is_any(each))
    endpoint = next(named, None)
    # HAProxy lets a server through that is wherever the client dialled: its checks fail, until it is given an address.
    return endpoint is not None and endpoint.family not in (Family.UNIX, Family.ABNS, Family.FD)


def _is_any(endpoint: Endpoint) -> bool:
    return endpoint.host in ("", "*", "0.0.0.0", "::")


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


def _external_command(judged: Judged, proxy: ProxyDraft) -> None:
    command, path = proxy.check_command, proxy.check_path
    if proxy.check_kind is not CheckKind.EXTERNAL:
        for name, value in (("command", command), ("path", path)):
            if value is not None:
                text = (
                    f"'external-check {name}' will be ignored for {titled(proxy)} (requires 'option external-check')."
                )
                judged.warn(proxy.header, text)
    if command is not None and not command.startswith("/") and path is None:
        problem = "does not have a leading '/' and 'external-check path' is not set."
        judged.alert(proxy.header, f"Proxy '{proxy.name}': 'external-check command' {problem}")


def _external_checks(judged: Judged) -> None:
    for proxy in judged.started:
        if not proxy.is_backend:
            continue
        _external_command(judged, proxy)
        if proxy.check_kind is not CheckKind.EXTERNAL:
            continue
        begin = f"Proxy '{proxy.name}' : "
        if not judged.settings.values.get("external_check"):
            text = "'option external-check' unable to find required 'global.external-check'."
            judged.alert(proxy.header, begin + text)
        if proxy.check_command is None:
            text = "'option external-check' unable to find required 'external-check command'."
            judged.alert(proxy.header, begin + text)
        if not (judged.settings.insecure_fork or judged.world.insecure_fork):
            text = "'insecure-fork-wanted' not enabled in the global section, 'option external-check' will likely fail."
            judged.warn(proxy.header, begin + text)


CHECKS: tuple[Callable[[Judged], None], ...] = (
    statistics_only,
    _ids,
    _default_backends,
    _listeners,
    bound_twice,
    _external_checks,
    _scripts,
    stick_rules,
    _timeouts,
    _log_formats,
    _log_targets,
    _http_leftovers,
    _server_names,
    _tracks,
    _check_ports,
    map_files,
    short_keys,
    ftp_fetches,
    rule_names,
    *FTP_CHECKS,
    nothing_to_act_on,
)


def judge(judged: Judged) -> None:
    """Run every check."""
    for check in CHECKS:
        check(judged)
