"""The supervisor's side of logs: the workers' lines for streams, descriptors and files, and its own for everything.

Nothing here makes the supervisor wait: datagrams are sent or dropped, streams have a bounded backlog. Drops are
counted (`Journal.dropped`) and said. Source: HAProxy manual, sections 4.2 (`log`) and 8.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial

from pasvport.address import Endpoint
from pasvport.control.log_files import FileStream
from pasvport.control.log_streams import DescriptorStream, NetworkStream, Pace, Stream
from pasvport.logformat.escape import harmless, one_line
from pasvport.logformat.syslog import WARNING, Framing, Sender, is_stream, path_targets, stream_key, stream_targets
from pasvport.logformat.xferlog import xferlog_files
from pasvport.model import Config, LogTarget, LogTransport
from pasvport.sockets import Datagrams, missing_receiver

TARGET_NUMBER = struct.Struct("!H")
_LARGEST_LINE = 65536 + TARGET_NUMBER.size
_LINES_PER_TURN = 512
_NOBODY = 1 << 16


class Journal:
    """The log targets of one configuration. Create and use it inside the running loop; targets given to it must be
    of that configuration. A reload makes a new journal and closes the old one when its workers are gone.

    `warn` gets "N log lines dropped" for stderr; `dropped_elsewhere` tells how many lines the workers dropped so far.
    """

    def __init__(
        self,
        config: Config,
        *,
        process_id: int,
        warn: Callable[[str], None] = lambda text: None,
        dropped_elsewhere: Callable[[], int] = lambda: 0,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = config.settings
        self._process_id = process_id
        self._warn = warn
        self._dropped_elsewhere = dropped_elsewhere
        self._pace = pace or Pace()
        self._clock = clock
        self._datagrams = Datagrams()
        self._datagrams_dropped = 0
        self._framings: dict[tuple[LogTarget, str], Framing] = {}
        self._targets = _targets(config)
        self._numbers = {key: number for number, key in enumerate(stream_targets(config))}
        files = [FileStream(path, self._pace, self._say_from_thread) for path in xferlog_files(config)]
        self._streams: tuple[Stream, ...] = (*map(self._stream, self._numbers), *files)
        self._paths = path_targets(config)
        for file in files:
            file.look()
        self._channels: set[socket.socket] = set()
        self._said = dropped_elsewhere()
        self._untold = {target: 0 for target in config.settings.log_targets if not is_stream(target)}
        self._notices: dict[Endpoint, tuple[LogTarget, int]] = {}
        """Where a notice of losses was the last thing sent, and what it told."""
        self._refusals: dict[Endpoint, str] = {}
        self._reporter: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        """Lines lost here so far (the workers count their own)."""
        return self._datagrams_dropped + sum(stream.backlog.dropped for stream in self._streams)

    def attach(self, channel: socket.socket) -> None:
        """Take lines from a worker; `channel` is the journal's end of sockets.log_channel(), closed here at its end."""
        self._channels.add(channel)
        self._loop.add_reader(channel, self._receive, channel)
        self._watch()

    def say(self, level: int, text: str, targets: Sequence[LogTarget] | None = None, *, tag: str | None = None) -> None:
        """The supervisor's own message at a syslog level (0..7), to `targets` (None: those of the global section)."""
        body = one_line(text)
        now = self._clock()
        self._watch()
        for target in self._settings.log_targets if targets is None else targets:
            framing = self._framing(target, tag or self._settings.log_tag)
            if framing.wants(level):
                self._send(target, framing.frame(level, body, now))

    def look(self) -> None:
        """Say which targets have nobody who takes lines, as far as that can be known without a line. For the start."""
        endpoints = dict.fromkeys(target.endpoint for target in self._targets if not is_stream(target))
        for endpoint in filter(None, endpoints):
            # Its descriptor is there from the start: when a line is due there may be none left.
            self._datagrams.towards(endpoint)
            error = missing_receiver(endpoint)
            if error is not None:
                self._tell_silence(endpoint, error.strerror or str(error))
        for stream in self._streams:
            if isinstance(stream, NetworkStream):
                stream.look()

    async def close(self, seconds: float = 1.0) -> None:
        """Take what the workers left, write what waits for at most `seconds`, and close everything opened here."""
        for channel in tuple(self._channels):
            while self._receive(channel):
                pass
            self._detach(channel)
        if self._reporter is not None:
            self._reporter.cancel()
            await asyncio.gather(self._reporter, return_exceptions=True)
        deadline = self._loop.time() + seconds
        await asyncio.gather(*(stream.close(deadline) for stream in self._streams))
        self._report()
        self._datagrams.close()

    # --- lines ----------------------------------------------------------------------------------------------------

    def _receive(self, channel: socket.socket) -> bool:
        """Take what is there, bounded, so that a torrent of lines does not keep the supervisor from its checks.

        True when there may be more.
        """
        for _ in range(_LINES_PER_TURN):
            try:
                frame = channel.recv(_LARGEST_LINE)
            except BlockingIOError:
                return False
            except OSError:
                frame = b""
            if not frame:
                self._detach(channel)
                return False
            self._deliver(frame)
        return True

    def _deliver(self, frame: bytes) -> None:
        number = TARGET_NUMBER.unpack_from(frame)[0] if len(frame) > TARGET_NUMBER.size else _NOBODY
        if number < len(self._streams):
            self._streams[number].put(harmless(frame[TARGET_NUMBER.size :]))
        elif number - len(self._streams) < len(self._paths) and len(frame) > TARGET_NUMBER.size:
            self._pass_on(self._paths[number - len(self._streams)], harmless(frame[TARGET_NUMBER.size :]))
        else:
            self._datagrams_dropped += 1

    def _pass_on(self, endpoint: Endpoint, line: bytes) -> None:
        """A line for a path that a worker could not reach."""
        try:
            self._datagrams.towards(endpoint)(line)
        except OSError:
            self._datagrams_dropped += 1

    def _detach(self, channel: socket.socket) -> None:
        if channel in self._channels:
            self._channels.discard(channel)
            self._loop.remove_reader(channel)
            channel.close()

    def _send(self, target: LogTarget, line: bytes) -> None:
        if is_stream(target):
            self._streams[self._numbers[stream_key(target)]].put(line)
            return
        assert target.endpoint is not None
        try:
            self._datagrams.towards(target.endpoint)(line)
        except ConnectionRefusedError:
            self._refused(target.endpoint, "Connection refused")
        except OSError:
            self._datagrams_dropped += 1
        self._notices.pop(target.endpoint, None)

    def _refused(self, endpoint: Endpoint, why: str) -> None:
        """What was sent there before this was refused: a line, or a notice of losses, which must not become one."""
        self._refusals[endpoint] = why
        notice = self._notices.pop(endpoint, None)
        if notice is None:
            self._datagrams_dropped += 1
        else:
            self._untold[notice[0]] += notice[1]

    def _stream(self, key: LogTarget) -> Stream:
        def word_losses(lines: int) -> bytes:
            framing = Framing(target, self._sender(self._settings.log_tag))
            return framing.frame(WARNING, _losses(lines).encode(), self._clock())

        target = next(target for target in self._targets if is_stream(target) and stream_key(target) == key)
        if key.transport is LogTransport.DESCRIPTOR:
            return DescriptorStream(key.descriptor, self._pace, word_losses)
        assert key.endpoint is not None
        return NetworkStream(key.endpoint, self._pace, word_losses, partial(self._tell_silence, key.endpoint))

    def _framing(self, target: LogTarget, tag: str) -> Framing:
        if (target, tag) not in self._framings:
            self._framings[target, tag] = Framing(target, self._sender(tag))
        return self._framings[target, tag]

    def _sender(self, tag: str) -> Sender:
        told = self._settings.log_send_hostname
        machine = socket.gethostname()
        return Sender(tag, self._process_id, machine if told == "" else told, machine)

    # --- files ----------------------------------------------------------------------------------------------------

    def _say_from_thread(self, text: str) -> None:
        # A thread that was left behind may speak when the loop is gone.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._complain, text)

    def _complain(self, text: str) -> None:
        self._warn(text)
        self.say(WARNING, text)

    def _tell_silence(self, endpoint: Endpoint, why: str) -> None:
        """Say that a target cannot be reached, on stderr and to the others."""
        text = f"log {endpoint}: nobody takes lines there ({why})"
        self._warn(text)
        self.say(WARNING, text, [each for each in self._settings.log_targets if each.endpoint != endpoint])

    # --- losses ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._reporter is None:
            self._reporter = self._loop.create_task(self._report_for_ever(), name="log losses")

    async def _report_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._pace.notice)
            self._report()

    def _report(self) -> None:
        for endpoint, error in self._datagrams.refused():
            self._refused(endpoint, error.strerror or str(error))
        lost = max(0, self.dropped + self._dropped_elsewhere() - self._said)
        reasons = [f"{endpoint}: {why}" for endpoint, why in self._refusals.items()]
        self._refusals.clear()
        reasons += [self._tell(target, self._untold[target] + lost) for target in self._untold]
        if lost:
            known = "; ".join(dict.fromkeys(filter(None, reasons)))
            self._warn(_losses(lost) + (f" ({known})" if known else ""))
            self._said += lost

    def _tell(self, target: LogTarget, lost: int) -> str:
        """Say losses to a datagram target; why it cannot be told. (Streams say their own when they work again.)"""
        self._untold[target] = 0
        framing = self._framing(target, self._settings.log_tag)
        if not lost or target.level < WARNING:
            return ""
        assert target.endpoint is not None
        try:
            # Not counted when it fails: a notice about drops must not become one.
            self._datagrams.towards(target.endpoint)(framing.frame(WARNING, _losses(lost).encode(), self._clock()))
            self._notices[target.endpoint] = target, lost
        except OSError as error:
            self._untold[target] = lost
            return f"{target.endpoint}: {error.strerror}"
        return ""


def _losses(lines: int) -> str:
    return f"{lines} log line{'' if lines == 1 else 's'} dropped"


def _targets(config: Config) -> tuple[LogTarget, ...]:
    return (*config.settings.log_targets, *(target for proxy in config.proxies for target in proxy.logging.targets))
