"""The worker's side of logs: a record becomes lines, lines become datagrams. Nothing here ever waits.

UDP and UNIX datagram targets are sent to directly; streams, descriptors and files may block, so their lines go as one
datagram (two bytes of target number, then the line) to the supervisor's journal. What cannot be sent at once is
dropped and counted. Source: HAProxy manual, sections 4.2 (`log`, `option dontlognull` ...) and 8.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial

from pasvport.logformat import (
    CONNECT_FORMAT,
    CONNECT_UNIX_FORMAT,
    Renderer,
    compile_format,
)
from pasvport.logformat.escape import one_line, to_bytes
from pasvport.logformat.json_lines import Event, Fields, needed, session_fields, transfer_fields
from pasvport.logformat.syslog import (
    ERR,
    INFO,
    NO_STRUCTURED_DATA,
    Framing,
    Sender,
    is_stream,
    path_targets,
    stream_key,
    stream_targets,
)
from pasvport.logformat.xferlog import is_file_transfer, xferlog_files, xferlog_line
from pasvport.model import Config, LogFormat, LogTarget, Proxy
from pasvport.record import SessionRecord
from pasvport.sockets import Datagrams

TARGET_NUMBER = struct.Struct("!H")
_FULL = (errno.EAGAIN, errno.ENOBUFS)

Send = Callable[[bytes], object]
Outbox = Callable[[bytes], None]
"""Takes a line, or loses and counts it."""


class Outlet:
    """One target as one proxy uses it."""

    __slots__ = ("_dropped", "_framing", "_send", "wants_object", "wants_structured")

    def __init__(self, target: LogTarget, sender: Sender, send: Send, dropped: Callable[[], None]) -> None:
        self.wants_structured = target.format is LogFormat.RFC5424
        self.wants_object = target.format is LogFormat.JSON
        self._framing = Framing(target, sender)
        self._send = send
        self._dropped = dropped

    def write(self, level: int, body: bytes, now: float, structured: bytes = NO_STRUCTURED_DATA) -> None:
        """Send one message if this target wants it; drop it if that cannot be done at once."""
        if self._framing.wants(level):
            self._put(self._framing.frame(level, body, now, structured))

    def write_object(self, level: int, fields: Fields, now: float) -> None:
        """The same for a target of JSON objects."""
        if self._framing.wants(level):
            self._put(self._framing.frame_object(level, fields, now))

    def _put(self, line: bytes) -> None:
        # A line that cannot be sent at once is lost; nobody waits for a log.
        try:
            self._send(line)
        except OSError:
            self._dropped()


class ProxyLogger:
    """What one frontend says about its sessions. The engine fills a record and calls; policies are decided here.

    `needs` names the attributes of a record that some format reads; others need not be filled.
    """

    def __init__(
        self,
        proxy: Proxy,
        outlets: Sequence[Outlet],
        compile_: Callable[..., Renderer],
        clock: Callable[[], float],
        xferlog: Outbox | None = None,
    ) -> None:
        def compiled(text: str | None) -> Renderer | None:
            return compile_(text) if text is not None else None

        logging = proxy.logging
        self._policy = logging
        self._outlets = tuple(outlets)
        self._texts = tuple(outlet for outlet in outlets if not outlet.wants_object)
        self._objects = tuple(outlet for outlet in outlets if outlet.wants_object)
        self._xferlog = xferlog
        self._clock = clock
        self._lines = 0
        self._format = compiled(logging.format) if outlets else None
        self._transfer_format = compiled(logging.transfer_format) if outlets else None
        self._structured = (
            compiled(logging.structured_data) if any(outlet.wants_structured for outlet in outlets) else None
        )
        self._unique_id = self._wanted_unique_id(proxy, compile_)
        self._connect = compile_format(CONNECT_FORMAT)
        self._connect_unix = compile_format(CONNECT_UNIX_FORMAT)
        self.needs = self._all_needs()
        self.at_accept = bool(outlets) and self._format is None
        self.at_connect = self._format is not None and (logging.logasap or not self._format.needs_end)

    def session_started(self, record: SessionRecord) -> None:
        """A client was accepted: the `Connect from` line of frontends without a format."""
        if self.at_accept:
            renderer = self._connect_unix if record.client_address == "unix" else self._connect
            self._write(INFO, renderer, record, Event.ACCEPTED)

    def session_connected(self, record: SessionRecord) -> None:
        """The server is connected: the line of `option logasap`, or of a format that says nothing of the end.

        `option dontlognull` has no say here, as in HAProxy; marks the record as logged.
        """
        if self.at_connect and not record.logged:
            self._session(record, Event.CONNECTED)

    def session_ended(self, record: SessionRecord) -> None:
        """The session is over: its line, unless it was written before or `option dontlognull` forbids it.

        HAProxy calls a session null when its client sent nothing, whatever the server sent.
        """
        if self._format is None or record.logged or (self._policy.dontlognull and not record.bytes_in):
            return
        self._session(record, Event.ENDED)

    def transfer_ended(self, record: SessionRecord) -> None:
        """A transfer of a session in `mode ftp` is over: its line, and the xferlog's; `record.transfer` is set.

        A complete transfer is a normal one for `option dontlog-normal` and `log-separate-errors`. `option dontlognull`
        has no say: somebody asked for it. The xferlog has all files, complete or not.
        """
        transfer = record.transfer
        assert transfer is not None
        if self._xferlog is not None and is_file_transfer(transfer):
            self._xferlog(xferlog_line(record, self._clock()))
        if self._transfer_format is None or (transfer.is_complete and self._policy.dontlog_normal):
            return
        failed = self._policy.separate_errors and not transfer.is_complete
        self._write(ERR if failed else INFO, self._transfer_format, record)

    def _session(self, record: SessionRecord, event: Event) -> None:
        assert self._format is not None
        policy = self._policy
        record.logged = True
        level = INFO
        if policy.dontlog_normal or policy.separate_errors:
            normal = record.is_normal
            if normal and policy.dontlog_normal:
                return
            level = ERR if policy.separate_errors and not normal else INFO
        record.in_progress = policy.logasap
        self._write(level, self._format, record, event)

    def _write(self, level: int, renderer: Renderer, record: SessionRecord, event: Event | None = None) -> None:
        """One line about the session, or (no event) about its transfer."""
        record.log_number = self._lines
        self._lines += 1
        if self._unique_id is not None and not record.unique_id:
            record.unique_id = self._unique_id(record)
        self._send(level, to_bytes(renderer(record)) if self._texts else b"", record, event)

    def _send(self, level: int, body: bytes, record: SessionRecord, event: Event | None) -> None:
        now = self._clock()
        if self._texts:
            structured = to_bytes(self._structured(record)) if self._structured is not None else NO_STRUCTURED_DATA
            for outlet in self._texts:
                outlet.write(level, body, now, structured)
        if self._objects:
            fields = transfer_fields(record) if event is None else session_fields(record, event)
            for outlet in self._objects:
                outlet.write_object(level, fields, now)

    def _wanted_unique_id(self, proxy: Proxy, compile_: Callable[..., Renderer]) -> Renderer | None:
        """`unique-id-format`, if any line says the id."""
        said = bool(self._objects) or any("unique_id" in renderer.needs for renderer in self._renderers())
        if proxy.unique_id_format is None or not said:
            return None
        return compile_(proxy.unique_id_format, mandatory=False)

    def _renderers(self) -> list[Renderer]:
        used = (self._format, self._transfer_format, self._structured)
        return [renderer for renderer in used if renderer is not None]

    def _all_needs(self) -> frozenset[str]:
        used = [*self._renderers(), *filter(None, [self._unique_id])]
        used += [self._connect] if self._format is None else []
        said = frozenset().union(*(renderer.needs for renderer in used)) if self._outlets else frozenset()
        return said | (needed() if self._objects else frozenset())


class Logger:
    """Every log target of a worker. `log_channel` is the worker's end of the journal's socket (datagrams; borrowed).

    `dropped` is called once per line that could not be sent. Sockets open here, so before privileges are dropped and
    before a chroot; a UNIX path is looked up when a line is sent, as HAProxy does, and where that is in vain the
    supervisor sends it, which lives in no chroot.
    """

    def __init__(
        self,
        config: Config,
        *,
        process_id: int,
        log_channel: int,
        dropped: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._process_id = process_id
        self._hostname = socket.gethostname()
        self._settings = config.settings
        self._maps = config.maps
        self._dropped = dropped
        self._clock = clock
        self._streams = {target: number for number, target in enumerate(stream_targets(config))}
        self._files = {path: number for number, path in enumerate(xferlog_files(config), len(self._streams))}
        before = len(self._streams) + len(self._files)
        self._paths = {endpoint: number for number, endpoint in enumerate(path_targets(config), before)}
        needs_channel = self._streams or self._files or self._paths
        self._channel = socket.socket(fileno=log_channel) if needs_channel else None
        self._datagrams = Datagrams()
        self._process_outlets = self._outlets(config.settings.log_targets, config.settings.log_tag)

    def for_proxy(self, proxy: Proxy) -> ProxyLogger:
        """The logger of one proxy. Raises ConfigError when a format does not compile (the compiler has checked)."""
        tag = proxy.logging.tag or self._settings.log_tag
        outlets = self._outlets(proxy.logging.targets, tag)
        compiled = partial(compile_format, hostname=self._hostname, process_id=self._process_id, maps=self._maps)
        return ProxyLogger(proxy, outlets, compiled, self._clock, self._xferlog(proxy))

    def say(self, level: int, text: str) -> None:
        """A message of the process itself to the global targets; `level` is a syslog level, 0..7."""
        body = one_line(text)
        now = self._clock()
        for outlet in self._process_outlets:
            outlet.write(level, body, now)

    def look(self) -> None:
        """Count lines that were refused since: only the next one, or a look, tells."""
        for _ in self._datagrams.refused():
            self._dropped()

    def close(self) -> None:
        """Close the sockets opened here; the channel stays open for its owner."""
        if self._channel is not None:
            self._channel.detach()
            self._channel = None
        self._datagrams.close()

    def _outlets(self, targets: Sequence[LogTarget], tag: str) -> list[Outlet]:
        sender = Sender(tag, self._process_id, self._told_hostname(), self._hostname)
        return [Outlet(target, sender, self._sender_to(target), self._dropped) for target in targets]

    def _xferlog(self, proxy: Proxy) -> Outbox | None:
        if not proxy.logging.xferlog:
            return None
        send = self._through_channel(self._files[proxy.logging.xferlog])

        def put(line: bytes) -> None:
            try:
                send(line)
            except OSError:
                self._dropped()

        return put

    def _told_hostname(self) -> str | None:
        # `log-send-hostname` without an argument is stored as "": this machine's own name.
        told = self._settings.log_send_hostname
        return self._hostname if told == "" else told

    def _sender_to(self, target: LogTarget) -> Send:
        if is_stream(target):
            return self._through_channel(self._streams[stream_key(target)])
        assert target.endpoint is not None
        send = self._datagrams.towards(target.endpoint)
        number = self._paths.get(target.endpoint)
        return send if number is None else _first_of(send, self._through_channel(number))

    def _through_channel(self, number: int) -> Send:
        head = TARGET_NUMBER.pack(number)
        assert self._channel is not None
        send = self._channel.send
        return lambda line: send(head + line, socket.MSG_DONTWAIT)


def _first_of(direct: Send, other: Send) -> Send:
    """Send the one way, or, when nobody is there, the other; a receiver that is full is there."""

    def send(line: bytes) -> None:
        try:
            direct(line)
        except OSError as error:
            if error.errno in _FULL:
                raise
            other(line)

    return send
