"""`option ftp-xferlog FILE`: the transfer log that wu-ftpd began and vsftpd and ProFTPD write.

Source: xferlog(5) of wu-ftpd; what vsftpd 3.0 and ProFTPD 1.3 write. Only what a balancer cannot see differs: the name
is the command's argument (relative to where the client stands), nobody is known as a guest, and an anonymous client's
password is never written: its user name stands in its place.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pasvport.logformat.dates import xferlog_date
from pasvport.model import Config
from pasvport.record import Direction, SessionRecord, TransferRecord

# Blanks would make two fields of one, line feeds two lines.
_UNWRITABLE = re.compile(rb"[\x00-\x20\x7f]")
_FILE_VERBS = ("RETR", "STOR", "APPE", "STOU")
_ANONYMOUS = (b"anonymous", b"ftp")
_NOBODY = b"?"
_NO_NAME = b"-"

_date = lru_cache(maxsize=2)(xferlog_date)


def xferlog_files(config: Config) -> tuple[str, ...]:
    """The files of a configuration, each once; they follow the streams in the numbers between the processes."""
    return tuple(dict.fromkeys(proxy.logging.xferlog for proxy in config.proxies if proxy.logging.xferlog))


def is_file_transfer(transfer: TransferRecord) -> bool:
    """Listings are no transfers here."""
    return transfer.verb in _FILE_VERBS


def xferlog_line(record: SessionRecord, now: float) -> bytes:
    """The line, its end included, of the record's transfer, which ended `now` (seconds since the epoch)."""
    transfer = record.transfer
    assert transfer is not None
    return b"%b %d %b %d %b %b _ %b %b %b ftp 0 * %b\n" % (
        _date(int(now)).encode(),
        # As vsftpd does: nothing takes no time.
        max(transfer.duration // 1000, 1),
        record.client_address.encode(),
        transfer.size,
        _word(transfer.path, _NO_NAME),
        b"a" if transfer.data_type.startswith("A") else b"b",
        b"i" if transfer.direction is Direction.UPLOAD else b"o",
        b"a" if transfer.user.lower() in _ANONYMOUS else b"r",
        _word(transfer.user, _NOBODY),
        b"c" if transfer.is_complete else b"i",
    )


def _word(raw: bytes, nothing: bytes) -> bytes:
    return _UNWRITABLE.sub(b"_", raw) or nothing
