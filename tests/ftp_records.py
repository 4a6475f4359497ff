"""Records of sessions in mode ftp and of transfers, full and empty, for the tests of logs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from log_rig import record
from pasvport.record import (
    Culprit,
    DataEnding,
    DataMode,
    Direction,
    FtpSessionRecord,
    SessionRecord,
    Stage,
    TransferRecord,
)

FTP = FtpSessionRecord(
    user=b"alice",
    failed_user=b"admin",
    logged_in=True,
    virtual_host=b"ftp.example",
    server="s1",
    commands=12,
    refused_commands=1,
    transfers=3,
    failed_transfers=2,
    bytes_in=4096,
    bytes_out=1048576,
    login_failures=4,
    strangers=5,
    conflicts=8,
    strays=6,
    redispatches=7,
    blind=True,
    reason="the client said QUIT",
)
TRANSFER = TransferRecord(
    number=9,
    verb="RETR",
    path=b"/pub/file one",
    direction=Direction.DOWNLOAD,
    user=b"bob",
    server="s2",
    data_type="I",
    restart=100,
    size=500000,
    client_mode=DataMode.EPSV,
    server_mode=DataMode.PASV,
    port=50007,
    code=226,
    server_code=250,
    ending=DataEnding.COMPLETE,
    culprit=Culprit.CLIENT_ABORT,
    stage=Stage.DATA,
    peer="10.0.1.3",
    started=1795403353.25,
    client_wait=5,
    connect_time=2,
    duration=2500,
)
EMPTY_TRANSFER = TransferRecord(1, "LIST", b"", Direction.DOWNLOAD)


def ftp_record(**changes: Any) -> SessionRecord:
    """A session in mode ftp, as its line sees it; `changes` are the FtpSessionRecord's."""
    return record(ftp=replace(FTP, **changes))


def transfer_record(**changes: Any) -> SessionRecord:
    """The same session, as a transfer's line sees it; `changes` are the TransferRecord's."""
    return record(ftp=replace(FTP), transfer=replace(TRANSFER, **changes))
