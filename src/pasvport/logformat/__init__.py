"""How a session is worded and how a syslog line is framed: log-format strings and the eight frames of HAProxy. Pure."""

from pasvport.logformat.renderer import (
    CONNECT_FORMAT,
    CONNECT_UNIX_FORMAT,
    FTP_TRANSFER_FORMAT,
    FTPLOG_FORMAT,
    TCPLOG_FORMAT,
    Renderer,
    check_format,
    compile_format,
)

__all__ = [
    "CONNECT_FORMAT",
    "CONNECT_UNIX_FORMAT",
    "FTPLOG_FORMAT",
    "FTP_TRANSFER_FORMAT",
    "TCPLOG_FORMAT",
    "Renderer",
    "check_format",
    "compile_format",
]
