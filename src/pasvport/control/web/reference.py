"""The tables of docs/statistics.md: `python -m pasvport.control.web.reference docs/statistics.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pasvport.control.web import metric_tables as tables
from pasvport.control.web.admin import ACTIONS, MEANINGS
from pasvport.exposition.stat import Kind
from pasvport.markdown import code, table

_OLDER = "Older name: `enable` and `start` are `ready`, `disable` is `maint`, `stop` is `drain`"
_LABELS = {
    Kind.FRONTEND: "`proxy`",
    Kind.LISTENER: "`proxy`, `listener`; only with `option socket-stats`",
    Kind.BACKEND: "`proxy`",
    Kind.SERVER: "`proxy`, `server`",
}


def render(page: str) -> str:
    """The page with what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` made anew."""
    for name, lines in (("actions", _actions()), ("metrics", _metrics())):
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        head, rest = page.split(begin)
        page = "\n".join((head + begin, "", *lines, "", end + rest.split(end)[1]))
    return page


def _actions() -> Iterator[str]:
    titles = {name: title or _OLDER for name, (_, title) in ACTIONS.items()} | {"shutdown": "End its sessions"}
    yield table(("action", "what it does"), ((code(name), title) for name, title in titles.items()))
    words = ", ".join(f"`{word}` ({meaning.rstrip('.')})" for word, meaning in MEANINGS.items())
    yield f"The answer is a redirection to `URI;st=WORD`: {words}."


def _metrics() -> Iterator[str]:
    yield from _section("The process", "", "haproxy_process_", tables.PROCESS)
    for kind in (Kind.FRONTEND, Kind.LISTENER, Kind.BACKEND, Kind.SERVER):
        title = f"{kind.title}s"
        yield from _section(title, _LABELS[kind], f"haproxy_{kind.name.lower()}_", tables.GROUPS[kind])
        own = tables.FTP_GROUPS.get(kind)
        if own is not None:
            yield from _section(f"{title} of `mode ftp`", _LABELS[kind], f"pasvport_ftp_{kind.name.lower()}_", own)
    yield from ("### States, pools, tables, workers", "")
    rows = ((code(name), type_, code(labels), doc) for name, type_, labels, doc in tables.OTHERS)
    yield table(("metric", "type", "labels", "meaning"), rows).rstrip("\n")


def _section(title: str, labels: str, prefix: str, rows: Iterable[tables.Shown]) -> Iterator[str]:
    yield from (f"### {title}", "")
    if labels:
        yield from (f"Labels: {labels}.", "")
    yield table(("metric", "type", "meaning"), (_metric(prefix, shown) for shown in rows))


def _metric(prefix: str, shown: tables.Shown) -> tuple[str, ...]:
    kind = "untyped" if shown.type == tables.UNTYPED else shown.type
    return code(f"{prefix}{shown.name}"), kind, tables.help_of(shown)


def main(arguments: list[str]) -> None:
    """Write the generated parts of the file named."""
    page = Path(arguments[0])
    page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
