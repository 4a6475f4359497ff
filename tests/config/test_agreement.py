"""pasvport's `-c` against the real HAProxy's over the corpus: accept or reject, and the lines blamed."""

from __future__ import annotations

from pathlib import Path

import pytest
from agreement import Verdict, corpus, fingerprint, haproxy_verdict, haproxy_verdicts, our_verdict, read_verdict
from differences import DIFFERENCES

from real_haproxy import needs_haproxy


def case(path: Path) -> str:
    """The name of a corpus file without its number."""
    return path.stem.partition("-")[2]


@pytest.fixture(scope="module")
def theirs(pytestconfig: pytest.Config) -> dict[str, Verdict]:
    """HAProxy's verdicts by file name. Judging them all takes seconds, so pytest's cache keeps what cannot change."""
    known: dict[str, list[object]] = pytestconfig.cache.get("pasvport/haproxy", {})
    prints = {path: fingerprint(path) for path in corpus()}
    fresh = haproxy_verdicts(path for path in corpus() if prints[path] not in known)
    said = {prints[path]: [fresh[path.name].code, fresh[path.name].text] for path in corpus() if path.name in fresh}
    kept = {key: value for key, value in (known | said).items() if key in prints.values()}
    pytestconfig.cache.set("pasvport/haproxy", kept)
    return {path.name: read_verdict(*kept[prints[path]]) for path in corpus()}


def test_the_corpus_is_large_enough() -> None:
    assert len(corpus()) >= 150
    assert len({case(path) for path in corpus()}) == len(corpus())


def test_listed_differences_are_about_the_corpus() -> None:
    assert set(DIFFERENCES) <= {case(path) for path in corpus()}
    assert all(reason.strip() for reason in DIFFERENCES.values())


@needs_haproxy
@pytest.mark.parametrize("path", corpus(), ids=case)
def test_agreement(path: Path, theirs: dict[str, Verdict]) -> None:
    """The same exit code, alerts and warnings on the same lines, unless a difference is wanted; then there is one."""
    verdict, ours = theirs[path.name], our_verdict([path])
    reason = verdict.disagreement(ours)
    if case(path) in DIFFERENCES:
        assert reason, "no longer differs: take it off the list"
    else:
        assert not reason, f"{reason}\n--- haproxy\n{verdict.text}\n--- pasvport\n{ours.text}"


SEVERAL = {
    "sections-in-two-files": ["global\n    maxconn 10\n", "listen l\n    bind 127.0.0.1:1\n    server s 127.0.0.1\n"],
    "second-file-needs-its-own-section": ["global\n    maxconn 10\n", "    nbthread 1\n"],
    "defaults-reach-the-next-file": [
        "defaults\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n",
        "listen l\n    bind 127.0.0.1:1\n    server s 127.0.0.1\n",
    ],
    "errors-in-both": ["global\n    bogus\n", "global\n    bogus\n    maxconn\n"],
    "abort-in-the-first": ["global\n    bogus\n.alert stop\n", "global\n    bogus\n"],
    "block-does-not-reach-the-next-file": ["global\n.if 1\n", ".endif\n"],
    "setenv-reaches-the-next-file": [
        "global\n    setenv CORPUS_X 1\n",
        '.if defined(CORPUS_X)\nlisten l\n    bind 127.0.0.1:1\n    server s "127.0.0.$CORPUS_X"\n.endif\n',
    ],
    "same-name-in-two-files": [
        "listen l\n    bind 127.0.0.1:1\n    server s 127.0.0.1\n",
        "\nlisten l\n    bind 127.0.0.1:2\n    server s 127.0.0.1\n",
    ],
}


@needs_haproxy
@pytest.mark.parametrize("name", SEVERAL)
def test_several_files(name: str, tmp_path: Path) -> None:
    """Several `-f`: one configuration, but each file begins its own section and closes its own blocks."""
    paths = [tmp_path / f"{number}.cfg" for number in range(len(SEVERAL[name]))]
    for path, text in zip(paths, SEVERAL[name], strict=True):
        path.write_text(text)
    verdict, ours = haproxy_verdict(*paths), our_verdict(paths)
    reason = verdict.disagreement(ours)
    assert not reason, f"{reason}\n--- haproxy\n{verdict.text}\n--- pasvport\n{ours.text}"
