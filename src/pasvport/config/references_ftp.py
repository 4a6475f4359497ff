"""What a proxy in `mode ftp` needs, and what in it makes no sense. Every check is listed in FTP_CHECKS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pasvport.address import Family
from pasvport.config.diagnostics import nearest
from pasvport.config.draft import ProxyDraft
from pasvport.config.judged import Judged, titled
from pasvport.config.keywords_ftp import is_dynamic
from pasvport.config.keywords_ftp_option import PASSIVE
from pasvport.config.keywords_option import FTPLOG
from pasvport.config.references_maps import names_given
from pasvport.config.syntax import Line, Word
from pasvport.model import Algorithm, AuthTls, Bind, CheckKind, FtpPassive, Mode

_WITHOUT_PORTS = (Family.UNIX, Family.ABNS, Family.FD)
_ANY_HOST = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}
_PRIVILEGED = 1024


def is_pool(bind: Bind) -> bool:
    """Whether a bind of a proxy in `mode ftp` is a pool of data ports: `data` was said, or it is a range."""
    return bind.data or (len(bind.ports) > 1 and bind.endpoint.family not in _WITHOUT_PORTS)


def _ftp_frontends(judged: Judged) -> Iterator[ProxyDraft]:
    return (proxy for proxy in judged.started if proxy.is_frontend and proxy.mode is Mode.FTP)


def _split(proxy: ProxyDraft) -> tuple[list[tuple[Bind, Line]], list[tuple[Bind, Line]]]:
    """(control binds, pools), each with its line."""
    both = list(zip(proxy.binds, proxy.bind_lines, strict=True))
    return [pair for pair in both if not is_pool(pair[0])], [pair for pair in both if is_pool(pair[0])]


# --- routes -------------------------------------------------------------------------------------------------------


def _used_backends(judged: Judged) -> None:
    for proxy in judged.started:
        if not proxy.is_frontend:
            continue
        for said in proxy.use_backend:
            name = said.value.text
            if is_dynamic(said.word):
                continue
            if judged.backends.get(name) is proxy:
                judged.alert(said.line, f"Proxy '{proxy.name}': loop detected for use_backend: '{name}'.", said.word)
            elif name not in judged.backends:
                text = f"Proxy '{proxy.name}': unable to find required use_backend: '{name}'."
                judged.alert(said.line, text, said.word, nearest(name, judged.backends) or "")


def _matching_modes(judged: Judged) -> None:
    for proxy in judged.started:
        if not proxy.is_frontend:
            continue
        for target, line, how in targets(judged, proxy):
            if target is proxy or target.mode is proxy.mode or (proxy.mode, target.mode) == (Mode.TCP, Mode.HTTP):
                continue
            text = (
                f"{proxy.mode} {titled(proxy)} ({proxy.header.origin}) tries to use incompatible {target.mode} "
                f"{titled(target)} ({target.header.origin}) {how} (see 'mode')."
            )
            judged.alert(line, text)


def targets(judged: Judged, proxy: ProxyDraft) -> Iterator[tuple[ProxyDraft, Line, str]]:
    """The backends a frontend leads to, those named by its maps among them: each with the line and words for it."""
    said = proxy.default_backend
    if said is not None and said.value in judged.backends:
        yield judged.backends[said.value], said.line, "as its default backend"
    elif said is None and proxy.is_backend:
        yield proxy, proxy.header, "as its own"
    for rule in proxy.use_backend:
        for name in dict.fromkeys(named.name for named in names_given(judged, rule.value)):
            if name in judged.backends:
                yield judged.backends[name], rule.line, "in a 'use_backend' rule"


# --- binds --------------------------------------------------------------------------------------------------------


def _both_kinds_of_binds(judged: Judged) -> None:
    for proxy in _ftp_frontends(judged):
        if not proxy.binds or proxy.binds_refused:
            continue
        control, pools = _split(proxy)
        if not control:
            text = f"{titled(proxy)} has data ports only: 'mode ftp' needs a 'bind' line with one port, without 'data'."
            judged.diagnostics.alert(pools[0][1], text, word=pools[0][1].words[1])
        elif not pools:
            _without_pool(judged, proxy)


def _without_pool(judged: Judged, proxy: ProxyDraft) -> None:
    text = f"{titled(proxy)} has no data ports: 'mode ftp' needs a 'bind' line with a range of ports, or with 'data'."
    if proxy.ftp.active:
        judged.diagnostics.warn(proxy.header, f"{text} Without, only clients that use PORT or EPRT can transfer.")
    else:
        judged.diagnostics.alert(proxy.header, text)


def _privileged_pools(judged: Judged) -> None:
    if not judged.settings.values.get("uid"):
        return
    for proxy in _ftp_frontends(judged):
        # With 'pass' the supervisor binds the whole range, and it keeps its privileges.
        leased = _split(proxy)[1] if proxy.ftp.auth_tls is AuthTls.REFUSE else []
        for bind, line in leased:
            if 0 < bind.ports.low < _PRIVILEGED:
                text = (
                    f"{titled(proxy)} : data ports below {_PRIVILEGED} are bound when they are leased, which an "
                    "ordinary user ('user' or 'uid' of the global section) may not do."
                )
                judged.diagnostics.warn(line, text, word=line.words[1])
            if bind.transparent:
                text = (
                    f"{titled(proxy)} : data ports are bound when they are leased, and 'transparent' needs "
                    "CAP_NET_ADMIN then, which an ordinary user ('user' or 'uid' of the global section) has not."
                )
                judged.diagnostics.warn(line, text, word=_word_of(line, "transparent"))


def _word_of(line: Line, text: str) -> Word | None:
    return next((word for word in line.words[2:] if word.text == text), None)


def _addressless_control(judged: Judged) -> None:
    for proxy in _ftp_frontends(judged):
        control, pools = _split(proxy)
        for bind, line in control:
            if pools and bind.endpoint.family in (Family.UNIX, Family.ABNS):
                text = (
                    f"{titled(proxy)} : clients of this 'bind' have no network address, so no data port can be opened "
                    "for them: they can log in, but not transfer."
                )
                judged.diagnostics.warn(line, text, word=line.words[1])


def _reachable_pools(judged: Judged) -> None:
    for proxy in _ftp_frontends(judged):
        control, pools = _split(proxy)
        control = [pair for pair in control if pair[0].endpoint.family not in _WITHOUT_PORTS]
        dialled = {(bind.endpoint.family, bind.endpoint.host) for bind, _ in control}
        told = any(bind.advertise for bind, _ in control)
        for bind, line in pools:
            if control and not (told or bind.advertise or _is_dialled(bind, dialled)):
                text = (
                    f"{titled(proxy)} : no control connection is made to {bind.endpoint.host}, but clients that use "
                    "EPSV open data connections to the address they dialled. Bind the pool there, or say 'advertise'."
                )
                judged.diagnostics.warn(line, text, word=line.words[1])


def _is_dialled(bind: Bind, dialled: set[tuple[Family, str]]) -> bool:
    family, host = bind.endpoint.family, bind.endpoint.host
    unknown = family is Family.NAME or any(kind is Family.NAME for kind, _ in dialled)
    anywhere = (Family.IPV6, _ANY_HOST[Family.IPV6])
    return (
        unknown or host == _ANY_HOST[family] or bool(dialled & {(family, host), (family, _ANY_HOST[family]), anywhere})
    )


def _served_families(judged: Judged) -> None:
    for proxy in _ftp_frontends(judged):
        control, pools = _split(proxy)
        families = {bind.endpoint.family for bind, _ in pools}
        if not pools or Family.NAME in families:
            continue
        for bind, line in control:
            if bind.endpoint.family is Family.IPV6 and Family.IPV6 not in families:
                text = f"{titled(proxy)} : the IPv6 clients of this 'bind' have no pool of data ports with IPv6."
                judged.diagnostics.warn(line, text, word=line.words[1])


def _shared_ports(judged: Judged) -> None:
    for proxy in _ftp_frontends(judged):
        control, pools = _split(proxy)
        for bind, line in control:
            if any(_overlap(bind, pool) for pool, _ in pools):
                text = (
                    f"{titled(proxy)} : port {bind.ports} is that of control connections and in a pool of data ports."
                )
                judged.diagnostics.alert(line, text, word=line.words[1])


def _overlap(control: Bind, pool: Bind) -> bool:
    hosts = {control.endpoint.host, pool.endpoint.host}
    meet = len(hosts) == 1 or bool(hosts & set(_ANY_HOST.values()))
    return meet and control.endpoint.family not in _WITHOUT_PORTS and control.ports.low in pool.ports


def _idle_options(judged: Judged) -> None:
    for proxy in _ftp_frontends(judged):
        for bind, line in zip(proxy.binds, proxy.bind_lines, strict=True):
            _idle_words(judged, proxy, bind, line)
        if proxy.option("nolinger"):
            text = "'option nolinger' makes no sense in 'mode ftp': a reset may take the end of a transfer with it."
            judged.diagnostics.warn(proxy.header, f"{titled(proxy)} : {text}")


def _idle_words(judged: Judged, proxy: ProxyDraft, bind: Bind, line: Line) -> None:
    for keyword, why in (_POOL_IDLE if is_pool(bind) else _CONTROL_IDLE).items():
        if getattr(bind, keyword.replace("-", "_")):
            judged.diagnostics.warn(line, f"{titled(proxy)} : '{keyword}' {why}", word=_word_of(line, keyword))


_CONTROL_IDLE = {"defer-accept": "keeps an FTP client waiting: it speaks only after the server's greeting."}
_POOL_IDLE = {
    "defer-accept": "has no effect on data ports.",
    "maxconn": "has no effect on data ports: sessions are counted, not their transfers.",
    "backlog": "has no effect on data ports: each is opened for one connection.",
}


# --- what other modes ignore --------------------------------------------------------------------------------------


def _ftp_leftovers(judged: Judged) -> None:
    for proxy in judged.started:
        if proxy.mode is Mode.FTP:
            continue
        for said in proxy.ftp_binds:
            text = f"{titled(proxy)} : '{said.value}' of a 'bind' line needs 'mode ftp', not 'mode {proxy.mode}'."
            judged.diagnostics.alert(said.line, text, word=said.word)
        checked = proxy.check_kind is CheckKind.FTP
        for shown, leftover in proxy.ftp_only.items():
            if leftover.side & proxy.side and not (checked and shown == PASSIVE):
                judged.warn(leftover.line, leftover.text.format(proxy=titled(proxy)))
        for name in sorted(proxy.own_timeouts & {"ftp-login", "ftp-data", "ftp-transfer"}):
            judged.warn(proxy.header, f"'timeout {name}' ignored for {titled(proxy)} as it requires FTP mode.")
        if not checked:
            _passive_words(judged, proxy)
        _ftplog(judged, proxy)


def _passive_words(judged: Judged, proxy: ProxyDraft) -> None:
    for server in proxy.servers:
        if server.line is not None and server.ftp_passive is not None:
            word = _word_of(server.line, "ftp-passive")
            text = f"'ftp-passive' ignored for {titled(proxy)} as it requires FTP mode or 'option ftp-check'."
            if word is not None:
                judged.diagnostics.warn(server.line, text, word=word)


def _passive_of_ipv6(judged: Judged) -> None:
    for proxy in judged.started:
        for server in proxy.servers:
            said = server.ftp_passive or (proxy.ftp_passive.value if proxy.ftp_passive is not None else None)
            ipv6 = server.endpoint is not None and server.endpoint.family is Family.IPV6
            if ipv6 and said is FtpPassive.PASV and server.line is not None:
                text = f"{titled(proxy)} : server '{server.name}' has an IPv6 address and will be asked with EPSV."
                judged.diagnostics.warn(server.line, text)


def _ftplog(judged: Judged, proxy: ProxyDraft) -> None:
    if proxy.is_frontend and proxy.mode is Mode.TCP and proxy.log_option == FTPLOG and proxy.log_format is not None:
        text = f"'{FTPLOG}' not usable with {titled(proxy)} (needs 'mode ftp'). Falling back to 'option tcplog'."
        judged.diagnostics.warn(proxy.log_format.line, text)


def _transfer_logs(judged: Judged) -> None:
    for proxy in _ftp_frontends(judged):
        said = proxy.transfer_format
        has_target = any(log.target is not None or judged.settings.logs for log in proxy.logs)
        if said is not None and not has_target and proxy.log_format is None:
            judged.warn(said.line, f"log format ignored for {titled(proxy)} since it has no log address.")


# --- blind sessions -----------------------------------------------------------------------------------------------


def _blind_sessions(judged: Judged) -> None:
    for proxy in _ftp_frontends(judged):
        if proxy.ftp.auth_tls is AuthTls.PASS:
            for problem in _blind_problems(judged, proxy):
                text = f"{titled(proxy)} : after AUTH ('option ftp-auth-tls pass') {problem}"
                judged.diagnostics.warn(proxy.auth_tls_line or proxy.header, text)


def _blind_problems(judged: Judged, proxy: ProxyDraft) -> Iterator[str]:
    if proxy.binds and not proxy.binds_refused and not _split(proxy)[1]:
        yield "sessions have no data ports: 'bind' the range of ports that the servers use."
    for target in dict.fromkeys(target.name for target, _, _ in targets(judged, proxy)):
        backend = judged.backends[target]
        if len(backend.servers) > 1 and not _binds_sources(backend):
            yield f"nothing leads data connections to their session's server of {titled(backend)}: say 'stick on src'."
    strict = (proxy.ftp.data_peer_ipv4, proxy.ftp.data_peer_ipv6) == (32, 128)
    if not strict and judged.settings.values.get("nbthread") != 1:
        yield (
            "data connections from another address than their session's ('ftp-data-peer') may reach another worker, "
            "which knows nothing of it: say 'nbthread 1'."
        )


def _binds_sources(backend: ProxyDraft) -> bool:
    """Whether two connections of one client reach one server."""
    hashed = backend.balance.expression
    by_hash = hashed is not None and hashed.fetch in _SOURCES
    return (
        by_hash
        or backend.balance.algorithm is Algorithm.SOURCE
        or any(rule.expression.fetch in _SOURCES for rule in backend.stick_rules)
    )


_SOURCES = ("src", "fc_src")

FTP_CHECKS: tuple[Callable[[Judged], None], ...] = (
    _used_backends,
    _matching_modes,
    _both_kinds_of_binds,
    _privileged_pools,
    _addressless_control,
    _reachable_pools,
    _shared_ports,
    _served_families,
    _idle_options,
    _ftp_leftovers,
    _passive_of_ipv6,
    _transfer_logs,
    _blind_sessions,
)
