"""What all servers of a backend can do: counted by checks, narrowed by sessions, told when it changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from health_world import backend, config
from pasvport.control.features import Census, Features
from pasvport.ftp.settings import FEATURES
from pasvport.model import Mode
from pasvport.wire import FeaturesKnown, FeaturesLearnt

LISTS = st.one_of(st.none(), st.lists(st.sampled_from(FEATURES), unique=True).map(tuple))


@given(st.lists(st.tuples(st.integers(0, 4), LISTS), max_size=20))
def test_a_census_is_the_intersection(story: list[tuple[int, tuple[bytes, ...] | None]]) -> None:
    census = Census()
    listed: dict[int, set[bytes]] = {}
    for server, features in story:
        census.note((0, server), features)
        listed.pop(server, None)
        if features is not None:
            listed[server] = set(features)
        assert set(census.common) == set(FEATURES).intersection(*listed.values())


def test_the_latest_answer_of_each_server_counts_whoever_asked() -> None:
    features = Features(config(backend("b", mode=Mode.FTP)))
    assert features.known() == ()
    assert features.listed((0, 0), (b"SIZE", b"MDTM", b"REST")) == FeaturesKnown(0, (b"MDTM", b"REST", b"SIZE"))
    assert features.listed((0, 0), (b"SIZE", b"MDTM", b"REST")) is None
    assert features.learnt(FeaturesLearnt(0, 1, (b"SIZE", b"REST", b"UTF8"))) == FeaturesKnown(0, (b"REST", b"SIZE"))
    assert features.learnt(FeaturesLearnt(0, 1, (b"SIZE", b"REST"))) is None
    assert features.known() == (FeaturesKnown(0, (b"REST", b"SIZE")),)
    # The second server can do more since it was upgraded, and the first is gone.
    assert features.learnt(FeaturesLearnt(0, 1, FEATURES)) == FeaturesKnown(0, (b"MDTM", b"REST", b"SIZE"))
    assert features.listed((0, 0), None) == FeaturesKnown(0, tuple(sorted(FEATURES)))
    assert features.known() == ()


def test_backends_that_speak_no_ftp_learn_nothing() -> None:
    features = Features(config(backend("b"), backend("c", index=1, mode=Mode.FTP)))
    assert features.listed((0, 0), ()) is None
    assert features.learnt(FeaturesLearnt(0, 0, ())) is None
    assert features.learnt(FeaturesLearnt(7, 0, ())) is None
    assert features.learnt(FeaturesLearnt(1, 0, (b"SIZE",))) == FeaturesKnown(1, (b"SIZE",))
