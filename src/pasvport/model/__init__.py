"""The compiled configuration: frozen values, the one thing every room agrees on.

Times are whole milliseconds, sizes bytes, rates per second, unless a field says otherwise. `None` means "not set"
where HAProxy distinguishes that from a default; defaults of the language are already filled in by the compiler.
Proxies, binds, servers and tables refer to each other by name or by index in their tuple, never by object, so a
Config travels over the wire as it is.
"""

from pasvport.model.balancing import Algorithm, Balance, HashFunction, HashMethod
from pasvport.model.checks import (
    Agent,
    Check,
    CheckKind,
    CheckStep,
    ExpectMatch,
    FtpCheck,
    FtpCheckAction,
    FtpCheckMode,
    ObserveMode,
    OnError,
    StepKind,
)
from pasvport.model.expressions import Converter, Expression, MapFile, UseRule
from pasvport.model.ftp import AuthTls, Ftp, FtpPassive
from pasvport.model.listening import Advertise, Bind
from pasvport.model.logs import LogFormat, Logging, LogTarget, LogTransport
from pasvport.model.origin import Origin
from pasvport.model.proxies import Mode, Proxy, Timeouts
from pasvport.model.servers import PortMap, Server, ServerPort, Source, SourceUse
from pasvport.model.socket_options import SocketOptions, UnixPermissions
from pasvport.model.stats import Stats, StatsLevel, StatsSocket
from pasvport.model.stick import KeyType, StickAction, StickRule, StickTable, StoredType
from pasvport.model.whole import Config, Global

__all__ = [
    "Advertise",
    "Agent",
    "Algorithm",
    "AuthTls",
    "Balance",
    "Bind",
    "Check",
    "CheckKind",
    "CheckStep",
    "Config",
    "Converter",
    "ExpectMatch",
    "Expression",
    "Ftp",
    "FtpCheck",
    "FtpCheckAction",
    "FtpCheckMode",
    "FtpPassive",
    "Global",
    "HashFunction",
    "HashMethod",
    "KeyType",
    "LogFormat",
    "LogTarget",
    "LogTransport",
    "Logging",
    "MapFile",
    "Mode",
    "ObserveMode",
    "OnError",
    "Origin",
    "PortMap",
    "Proxy",
    "Server",
    "ServerPort",
    "SocketOptions",
    "Source",
    "SourceUse",
    "Stats",
    "StatsLevel",
    "StatsSocket",
    "StepKind",
    "StickAction",
    "StickRule",
    "StickTable",
    "StoredType",
    "Timeouts",
    "UnixPermissions",
    "UseRule",
]
