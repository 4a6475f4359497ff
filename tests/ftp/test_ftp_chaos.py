"""Both peers and the engine misbehave at random: the dialogue parses, or names a culprit; it never hangs or crosses."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ftp_world import Watched
from pasvport.errors import ProtocolError, Side
from pasvport.ftp import actions as acts
from pasvport.ftp import events as evts
from pasvport.ftp.dialogue import Dialogue
from pasvport.ftp.grammar import ReplyReader
from pasvport.ftp.lines import LineSplitter
from pasvport.ftp.passive import names_port
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import PATH, SESSION, PathState, Phase
from pasvport.record import Culprit, DataEnding, Stage

SERVER_HOST = "10.0.0.1"
LINE, HELD, REPLY = 64, 4, 512
CLIENT_LINES = [
    *(b"USER joe|USER eve|PASS x|TYPE I|REST 5|NOOP|STAT|FEAT|PWD|QUIT|REIN|AUTH TLS|HOST a|OPTS UTF8 ON".split(b"|")),
    *(b"PASV|EPSV|EPSV ALL|EPSV 2|PORT 192,0,2,7,10,0|EPRT |1|192.0.2.7|4000|".split(b"|", 5)),
    *(b"RETR a|LIST|STOR b|APPE c|ABOR|\xff\xf4\xff\xf2ABOR|MODE B|SITE x|nonsense|".split(b"|")),
]
SERVER_LINES = [
    *(b"220 hi|120 wait|230 in|331 pass|530 no|421 bye|200 ok|350 go|221 bye|234 tls|500 what|550 none".split(b"|")),
    *(b"150 here|125 here|226 done|250 done|425 no|426 cut|452 full|227 (1,2,3,4,5,6)|229 (!!!77!)".split(b"|")),
    *(b"211-Features:|211 End| SIZE|220-more|150-x|junk|227 none|110 MARK|227-x|229 (|||0|)".split(b"|", 9)),
    *(b"211 211-Ext:|2200 hi|22 hi|000 x|699 x|213 End|200-x|331-x|230-x|End|\0\r|".split(b"|")),
]
TELNET = st.lists(st.sampled_from([b"\xff", b"\xf2", b"\xf4", b"\xfb", b"\r", b"\n", b"x"])).map(b"".join)
# The default of fifty misses too much of so many states.
MANY = settings(max_examples=max(300, settings().max_examples))
JUNK = st.binary(max_size=12)


def spoken(lines: list[bytes]) -> st.SearchStrategy[bytes]:
    some = st.lists(st.sampled_from(lines), min_size=1, max_size=4).map(lambda each: b"\r\n".join(each) + b"\r\n")
    return st.one_of(some, some, some, JUNK, JUNK.map(lambda junk: junk + b"\n"))


CUES = st.one_of(
    st.tuples(st.just("client"), spoken(CLIENT_LINES)),
    st.tuples(st.just("server"), spoken(SERVER_LINES)),
    st.tuples(st.just("server"), spoken(SERVER_LINES)),
    st.tuples(st.just("well"), st.just(b"")),
    st.tuples(st.just("badly"), st.just(b"")),
    st.tuples(st.just("wild"), st.integers(0, 10_000)),
)
SETTINGS = st.builds(
    Settings,
    deferred=st.booleans(),
    active=st.booleans(),
    max_line=st.just(LINE),
    max_held=st.just(HELD),
    max_reply=st.just(REPLY),
    max_refused=st.integers(1, 5),
    redispatches=st.integers(0, 2),
)


class Chaos:
    """A dialogue, the questions it has asked, and what must hold at every moment."""

    def __init__(self, settings: Settings) -> None:
        self.watched = Watched(settings)
        self.open: list[acts.Action] = []
        self.leases: dict[int, int] = {}
        self.client = b""
        self.cutting = 0

    @property
    def dialogue(self) -> Dialogue:
        return self.watched.dialogue

    def happen(self, event: evts.Event) -> None:
        for action in self.watched.receive(event):
            self._look_at(action)
        while self.cutting:
            # The engine's promise: an aborted transfer is accounted for before anything else.
            path, self.cutting = self.cutting, 0
            self.happen(evts.DataFinished(path, 3, DataEnding.CUT))
        self._check_bounds()

    def _look_at(self, action: acts.Action) -> None:
        asked = acts.ChooseServer | acts.LeaseDataPort | acts.DialServerData | acts.DialClientData | acts.StartTransfer
        if isinstance(action, asked):
            self.open.append(action)
        if isinstance(action, acts.DropData):
            self._forget(action.path)
        elif isinstance(action, acts.AbortTransfer):
            self._forget(action.path)
            self.cutting = action.path
        elif isinstance(action, acts.DialServerData):
            assert action.host == SERVER_HOST
        elif isinstance(action, acts.DialClientData):
            assert action.host == "192.0.2.7"
            assert action.port >= 1024
        elif isinstance(action, acts.SendToClient):
            self.client += action.data
        elif isinstance(action, acts.CloseSession):
            assert (action.culprit is Culprit.NONE) == (action.stage is Stage.NONE)
            assert action.record.reason

    def _forget(self, path: int) -> None:
        self.open = [each for each in self.open if getattr(each, "path", 0) != path]

    def _check_bounds(self) -> None:
        dialogue: Any = self.dialogue
        assert len(dialogue._held) <= HELD + 12
        assert len(dialogue._expected) <= 12
        assert len(dialogue._reader._buffer) <= REPLY
        if dialogue._path is not None:
            assert len(dialogue._path.behind) <= 12 * REPLY
        assert len(dialogue._kept or b"") <= 12 * REPLY

    def answer(self, *, well: bool) -> bool:
        """Answer the oldest question."""
        if not self.open:
            return False
        action = self.open.pop(0)
        if isinstance(action, acts.ChooseServer):
            if well:
                self.happen(evts.ServerAssigned("s1", SERVER_HOST))
            self.happen(evts.ServerConnected() if well else evts.NoServer("none"))
        else:
            self._answer_about_data(action, well)
        return True

    def _answer_about_data(self, action: acts.Action, well: bool) -> None:
        path: int = action.path  # type: ignore[union-attr]
        if isinstance(action, acts.LeaseDataPort):
            self.leases[path] = 50000 + path
            self.happen(evts.DataPortLeased(path, 50000 + path) if well else evts.LeaseFailed(path, "none"))
        elif isinstance(action, acts.DialServerData):
            self.happen(evts.ServerDataConnected(path) if well else evts.ServerDataFailed(path, "refused"))
            if well and path in self.leases:
                self.happen(evts.ClientDataConnected(path, "192.0.2.7"))
        elif isinstance(action, acts.DialClientData):
            connected = evts.ClientDataConnected(path, "192.0.2.7")
            self.happen(connected if well else evts.ClientDataFailed(path, "refused"))
        else:
            self.happen(evts.DataFinished(path, 9, DataEnding.COMPLETE if well else DataEnding.SERVER_ABORT))

    def wild(self, number: int) -> None:
        """Something nobody asked for, about any path, at a wrong moment."""
        path = number % 5
        kinds: list[evts.Event] = [
            evts.ClientLeft(reset=number % 2 == 0),
            evts.ServerLeft(),
            evts.DataPortLeased(path + 90, 1),
            evts.ClientDataConflict(path, "192.0.2.7"),
            evts.ServerDataConnected(path + 90),
            evts.DataFinished(path + 90, 1, DataEnding.COMPLETE),
            evts.DrainRequested("reload"),
            evts.LoginLimitExceeded(),
            evts.ServerConnected() if not self.open else evts.ServerLeft(),
            *(evts.TimedOut(which) for which in evts.Timer),
        ]
        event = kinds[number // 5 % len(kinds)]
        if isinstance(event, evts.ServerConnected) and self.dialogue.phase is Phase.SUMMONING:
            return
        self.happen(event)

    def cue(self, kind: str, what: Any) -> None:
        if kind == "client":
            if self.dialogue.reads_client:
                self.happen(evts.ClientSent(what))
        elif kind == "server":
            self.happen(evts.ServerSent(what))
        elif kind == "wild":
            self.wild(what)
        else:
            self.answer(well=kind == "well")

    def let_time_pass(self) -> None:
        """Nobody says anything more: every wait must have an end."""
        for _ in range(60):
            if self.dialogue.phase is Phase.OVER:
                return
            if self.answer(well=False):
                continue
            timers = sorted(self.dialogue.timers)
            assert timers, f"nothing would ever end {self.dialogue.phase}"
            for timer in timers:
                self.happen(evts.TimedOut(timer))
        raise AssertionError(f"still {self.dialogue.phase} {self.dialogue.path}")

    def check_what_the_client_heard(self) -> None:
        ports = set(self.leases.values())
        reader = ReplyReader(1 << 20)
        reader.push(self.client)
        while (reply := reader.pull()) is not None:
            # Inner lines too: curl would take some for replies.
            if (reply.code if reply.complete else reader.doubt) in (227, 229) and names_port(reply.text):
                text = reply.text.decode("latin-1")
                assert any(str(port) in text or f",{port >> 8},{port & 255})" in text for port in ports)


@MANY
@given(SETTINGS, st.lists(CUES, max_size=40))
def test_any_behaviour_ends_well(said: Settings, cues: list[tuple[str, Any]]) -> None:
    chaos = Chaos(said)
    chaos.happen(evts.ClientConnected("192.0.2.7", "203.0.113.1"))
    for kind, what in cues:
        chaos.cue(kind, what)
    chaos.let_time_pass()
    assert chaos.watched.closed == 1
    assert not chaos.open or chaos.dialogue.phase is Phase.OVER
    chaos.check_what_the_client_heard()


LOGIN = [
    ("well", b""),
    ("server", b"220 hi\r\n"),
    ("client", b"USER joe\r\n"),
    ("server", b"230 in\r\n"),
    ("client", b"EPSV\r\n"),
    ("well", b""),
    ("server", b"229 (|||4000|)\r\n"),
]


ASKED = [*LOGIN, ("client", b"RETR a\r\n")]
REPLAYING = [
    *LOGIN[:3],
    ("server", b"331 pass\r\n"),
    ("client", b"PASS x\r\n"),
    ("server", b"421 bye\r\n"),
    ("well", b""),
    ("server", b"220 second\r\n"),
]
BEGINNINGS: dict[str, list[tuple[str, Any]]] = {
    "replaying": REPLAYING,
    "logged in": LOGIN[:4],
    "opening": LOGIN[:5],
    "ready": LOGIN,
    "asked": ASKED,
    "granted": [*ASKED, ("server", b"150 go\r\n")],
    "download": [*ASKED, ("server", b"150 go\r\n"), ("well", b"")],
    "upload": [*LOGIN, ("well", b""), ("client", b"STOR a\r\n"), ("server", b"150 go\r\n")],
}


@MANY
@given(st.sampled_from(sorted(BEGINNINGS)), st.lists(CUES, max_size=20))
def test_any_behaviour_from_any_state_ends_well(beginning: str, cues: list[tuple[str, Any]]) -> None:
    chaos = Chaos(Settings(max_line=LINE, max_held=HELD, max_reply=REPLY))
    chaos.happen(evts.ClientConnected("192.0.2.7", "203.0.113.1"))
    for kind, what in [*BEGINNINGS[beginning], *cues]:
        chaos.cue(kind, what)
    chaos.let_time_pass()
    assert chaos.watched.closed == 1
    chaos.check_what_the_client_heard()


@given(st.lists(st.sampled_from([*CLIENT_LINES, b"\xff\xfb\x01x", b"\xff\xf9y"]), max_size=8), st.integers(0, 2**32))
def test_cutting_changes_nothing(lines: list[bytes], seed: int) -> None:
    data = b"\r\n".join(lines) + b"\r\n"
    one, other = LineSplitter(LINE), LineSplitter(LINE)
    one.push(data)
    for at in range(len(data)):
        other.push(data[at : at + 1])
    assert pulled(one) == pulled(other)


@MANY
@given(st.lists(st.one_of(st.binary(max_size=100), TELNET), max_size=8))
def test_junk_is_bounded_and_cut_alike(pieces: list[bytes]) -> None:
    one, other = LineSplitter(LINE), LineSplitter(LINE)
    together: list[Any] = []
    for piece in pieces:
        other.push(piece)
        together += pulled(other)
        assert other.held <= LINE + 1
    one.push(b"".join(pieces))
    assert pulled(one) == together


def read_whole(pieces: list[bytes]) -> tuple[list[tuple[int, bytes]], bytes]:
    """The replies of a server, each with all of its bytes, and what stands outside."""
    reader = ReplyReader(1 << 20)
    found: list[tuple[int, bytes]] = []
    kept = text = b""
    for piece in pieces:
        reader.push(piece)
        while (reply := reader.pull() or reader.rest()) is not None:
            if not reply.code:
                text += reply.raw
                continue
            kept += reply.raw
            if reply.complete:
                found.append((reply.code, kept))
                kept = b""
    return found, text + kept


@given(
    st.lists(st.one_of(st.sampled_from(SERVER_LINES), JUNK), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r\r\n"])
)
def test_replies_are_read_alike_however_they_are_cut(lines: list[bytes], end: bytes) -> None:
    data = b"".join(line + end for line in lines)
    whole, rest = read_whole([data])
    assert read_whole([data[at : at + 1] for at in range(len(data))]) == (whole, rest)
    # Nothing is lost and nothing is added.
    assert sorted(b"".join(raw for _, raw in whole) + rest) == sorted(data)


@given(st.lists(st.one_of(st.sampled_from(SERVER_LINES), JUNK), max_size=20))
def test_nothing_but_its_length_is_wrong_with_a_reply(lines: list[bytes]) -> None:
    reader = ReplyReader(LINE)
    reader.push(b"".join(line + b"\n" for line in lines))
    culprits = []
    try:
        while reader.pull() or reader.rest():
            pass
    except ProtocolError as broken:
        culprits.append((str(broken), broken.whose))
    assert culprits in ([], [("reply too long", Side.SERVER)])


def pulled(splitter: LineSplitter) -> list[Any]:
    found = []
    while (line := splitter.pull()) is not None:
        found.append(line)
    return found


def test_every_phase_is_entered_and_left() -> None:
    assert {row.source for row in SESSION} == set(Phase) - {Phase.OVER}
    entered = set().union(*(row.targets for row in SESSION))
    assert entered == set(Phase) - {Phase.NEW}


def test_every_path_comes_to_an_end() -> None:
    assert {state for state, _ in PATH} == set(PathState) - {PathState.GONE}
    ending = {PathState.GONE}
    for _ in PathState:
        ending |= {state for (state, _), target in PATH.items() if target in ending}
    assert ending == set(PathState)
    assert set(PATH.values()) == set(PathState) - {PathState.OPENING}
