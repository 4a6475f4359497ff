"""Whatever the text, a load gives diagnostics or a config; it never raises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compiling import outcome
from pasvport.config.compiler import SECTIONS
from pasvport.config.keywords import words as words_of
from pasvport.config.keywords_balance import BALANCE
from pasvport.config.keywords_bind import BIND
from pasvport.config.keywords_check import CONNECT, EXPECT, STEPS
from pasvport.config.keywords_global import GLOBAL
from pasvport.config.keywords_log import FACILITIES, LEVELS, LOG_OPTIONS
from pasvport.config.keywords_option import OPTIONS
from pasvport.config.keywords_proxy import PROXY
from pasvport.config.keywords_server import SERVER
from pasvport.config.keywords_source import SOURCE
from pasvport.config.keywords_stick import STORED, TABLE

ARGUMENTS = words_of(
    r"""
0 1 -1 3 70000 99999999999999999999 3s 1h 99d 1us 10k 4g x 1x ' " # \ \x \xff \xffzz $ "$A" é 😀
:21 :1-2 :0 127.0.0.1 127.0.0.1:21 127.0.0.1:9-1 [::1]:21 ::1 *:21 /run/s abns@x fd@3 tcp@h:1 name name:+5 -5
src dst,ipmask(24) int(3) str(a),ipmask(8) src,ipmask(99) foo() ip ipv6 integer string binary len table if
on match store global stdout len 100 sample 1-2:3 1:1 client clientip ! 220 ^2 ( conn_rate(3s) from b f l
source(3) random(2) random( consistent sdbm avalanche clf none http tcp layer4 no-exit-on-failure %ci %zz
"""
)
TABLES = (GLOBAL, PROXY, OPTIONS, BIND, SERVER, SOURCE, TABLE, STORED, STEPS, CONNECT, EXPECT, BALANCE, LOG_OPTIONS)
KEYWORDS = [name for table in TABLES for name in table.names()]

words = st.one_of(
    st.sampled_from(ARGUMENTS),
    st.sampled_from(KEYWORDS),
    st.sampled_from([*FACILITIES, *LEVELS]),
    st.text(max_size=8),
)
headers = st.builds(
    " ".join, st.tuples(st.sampled_from(SECTIONS), st.sampled_from(["", "b", "f", "l", "b from b", "x y", "!"]))
)
firsts = st.one_of(
    st.sampled_from(list(PROXY.names())),
    st.sampled_from(list(GLOBAL.names())),
    st.sampled_from([f"option {name}" for name in OPTIONS.names()]),
    st.sampled_from([f"tcp-check {name}" for name in STEPS.names()]),
    st.sampled_from(["no option", "default option", "no log", "no", "server s 127.0.0.1", "bind :21", "stick on"]),
    words,
)
lines = st.one_of(
    headers, st.builds(lambda first, rest: " ".join([" " + first, *rest]), firsts, st.lists(words, max_size=5))
)
texts = st.lists(lines, max_size=25).map(lambda found: "\n".join(found) + "\n")

FOCUSED = {
    "server s 127.0.0.1:21": SERVER,
    "default-server": SERVER,
    "server-template s 3 host:21": SERVER,
    "bind 127.0.0.1:21": BIND,
    "stick-table": TABLE,
    "tcp-check expect": EXPECT,
    "tcp-check connect": CONNECT,
    "log stdout": LOG_OPTIONS,
    "balance": BALANCE,
    "source 127.0.0.1": SOURCE,
}
focused = st.sampled_from(sorted(FOCUSED)).flatmap(
    lambda first: st.lists(st.one_of(st.sampled_from(list(FOCUSED[first].names())), words), max_size=6).map(
        lambda rest: " ".join([first, *rest])
    )
)


def _one_or_the_other(text):
    found = outcome(text, environment={"A": "a b"})
    assert (found.config is None) == found.diagnostics.has_alerts
    for entry in found.diagnostics.found:
        assert entry.text
        assert entry.origin is not None or not entry.source


@given(texts)
def test_any_text(text):
    _one_or_the_other(text)


@given(st.lists(focused, max_size=12))
def test_options_of_every_keyword(found):
    _one_or_the_other("listen l\n bind :2121\n" + "".join(f" {line}\n" for line in found))


@given(st.binary(max_size=300))
def test_any_bytes(data):
    _one_or_the_other(data.decode("utf-8", "surrogateescape"))
