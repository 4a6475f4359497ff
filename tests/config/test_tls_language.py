"""TLS keywords of the global section: checked, noticed, without effect. Beside HAProxy they are tried in the corpus."""

import pytest

from pasvport.config.compiler import load
from pasvport.config.diagnostics import Severity
from pasvport.config.keywords_tls import TLS_ROWS
from pasvport.config.world import World
from pasvport.errors import ConfigError

RIGHT = (
    "ca-base /etc/ssl/certs",
    "crt-base /etc/ssl/private",
    "ssl-default-bind-options ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.3 no-tls-tickets prefer-client-ciphers",
    "ssl-default-server-options no-sslv3 force-tlsv12",
    "ssl-default-bind-ciphers A:B",
    "ssl-default-bind-ciphersuites A:B",
    "ssl-default-server-ciphers A:B",
    "ssl-default-server-ciphersuites A:B",
    "ssl-default-bind-curves X25519",
    "ssl-server-verify required",
    "ssl-dh-param-file dh.pem",
    "ssl-load-extra-files bundle ocsp",
    "ssl-load-extra-del-ext",
    "ssl-skip-self-issued-ca",
    "maxsslconn 10",
    "maxsslrate 10",
    "tune.ssl.force-private-cache",
    "tune.ssl.cachesize 1000",
    "tune.ssl.default-dh-param 2048",
    "tune.ssl.lifetime 5m",
    "tune.ssl.keylog off",
    "tune.ssl.maxrecord 1400",
    "tune.ssl.hard-maxrecord 1400",
    "tune.ssl.capture-buffer-size 96",
    "tune.ssl.ssl-ctx-cache-size 100",
)
DEPRECATED = "tune.ssl.capture-cipherlist-size 96"
FRONTEND = "frontend fe\n  bind 127.0.0.1:1000\n  timeout client 1s\n"


def read_file(path):
    if path != "dh.pem":
        raise ConfigError("No such file or directory")
    return "-----BEGIN DH PARAMETERS-----\n"


def outcome(*lines):
    text = "global\n" + "".join(f"  {line}\n" for line in lines) + FRONTEND
    return load([("a.cfg", text)], World(read_file=read_file))


def found(result, severity):
    return [entry.text for entry in result.diagnostics.found if entry.severity is severity]


@pytest.mark.parametrize("line", RIGHT)
def test_a_right_one_is_accepted_with_a_notice(line):
    result = outcome(line)
    assert result.config is not None
    assert found(result, Severity.WARNING) == found(result, Severity.ALERT) == []
    (notice,) = found(result, Severity.NOTICE)
    assert notice == f"'{line.split()[0]}' has nothing to act on: no 'bind' or 'server' line uses TLS."


def test_one_notice_speaks_of_all():
    result = outcome(*RIGHT)
    assert result.config is not None
    (notice,) = found(result, Severity.NOTICE)
    assert notice.startswith(f"'ca-base' and {len(RIGHT) - 1} more keywords of TLS have nothing to act on")


def test_the_old_word_is_warned_of():
    assert "deprecated" in found(outcome(DEPRECATED), Severity.WARNING)[0]


def test_every_row_is_tried():
    assert {line.split()[0] for line in (*RIGHT, DEPRECATED)} == {row.name for row in TLS_ROWS}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ssl-default-bind-options no-such", "unknown option 'no-such'"),
        ("ssl-default-server-options prefer-client-ciphers", "unknown option 'prefer-client-ciphers'"),
        ("ssl-default-bind-options ssl-min-ver", "missing the ssl/tls version"),
        ("ssl-default-bind-options ssl-min-ver TLSv9", "unknown ssl/tls version"),
        ("ssl-dh-param-file nowhere", "unable to load DH parameters from file <nowhere>"),
        ("ssl-load-extra-files none ocsp", "can be only used alone"),
        ("ssl-server-verify", "'none' or 'required'"),
        ("tune.ssl.default-dh-param 100", ">= 1024"),
        ("maxsslconn -1", "positive"),
    ],
)
def test_a_wrong_one_is_refused(line, reason):
    result = outcome(line)
    assert result.config is None
    assert reason in found(result, Severity.ALERT)[0]
