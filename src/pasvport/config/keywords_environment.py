"""Global keywords about variables and paths. Source: HAProxy configuration manual, section 3.1."""

from __future__ import annotations

from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import GlobalDraft
from pasvport.config.keywords import Keyword, Place


def _setenv(cursor: Cursor, draft: GlobalDraft) -> None:
    name, value = _assignment(cursor)
    cursor.environment[name] = value
    draft.environment_edited = True


def _presetenv(cursor: Cursor, draft: GlobalDraft) -> None:
    name, value = _assignment(cursor)
    cursor.environment.setdefault(name, value)
    draft.environment_edited = True


def _assignment(cursor: Cursor) -> tuple[str, str]:
    complaint = f"'{cursor.keyword}' expects a name and a value."
    name, value = cursor.argument(complaint), cursor.argument(complaint)
    return name.text, value.text


def _unsetenv(cursor: Cursor, draft: GlobalDraft) -> None:
    cursor.argument("'unsetenv' expects at least one variable name.")
    for word in cursor.words[1:]:
        cursor.environment.pop(word.text, None)
    draft.environment_edited = True


def _resetenv(cursor: Cursor, draft: GlobalDraft) -> None:
    kept = {word.text for word in cursor.words[1:]}
    for name in [name for name in cursor.environment if name not in kept]:
        del cursor.environment[name]
    draft.environment_edited = True


def _localpeer(cursor: Cursor, draft: GlobalDraft) -> None:
    word = cursor.argument("'localpeer' expects a name as an argument.")
    if cursor.world.localpeer:
        cursor.warn("'localpeer' ignored since it is already set by using the '-L' command line argument.", word)
        return
    draft.values["localpeer"] = cursor.environment["HAPROXY_LOCALPEER"] = word.text
    draft.environment_edited = True


_PATH_MODES = "supported modes include 'current', 'config', 'parent', and 'origin'."


def _default_path(cursor: Cursor, draft: GlobalDraft) -> None:
    """Concerns files that HAProxy loads while it reads the text; those of `use_backend` it loads afterwards."""
    mode = cursor.argument(f"missing default-path mode '' for 'default-path', {_PATH_MODES}")
    if mode.text not in ("current", "config", "parent", "origin"):
        raise LineError(f"unsupported default-path mode '{mode}' for 'default-path', {_PATH_MODES}", mode)
    origin = ""
    if mode.text == "origin":
        origin = cursor.argument("'default-path origin' expects a directory as an argument.").text
    draft.default_path = mode.text, origin
    cursor.finish(f"default-path {mode}")


ENVIRONMENT_ROWS: tuple[Keyword[GlobalDraft], ...] = (
    Keyword("setenv", "<name> <value>", "Set a variable for the lines below.", _setenv, Place.GLOBAL, "P1", most=2),
    Keyword("presetenv", "<name> <value>", "As `setenv`, unless it is set.", _presetenv, Place.GLOBAL, "P1", most=2),
    Keyword("unsetenv", "<name>...", "Unset variables.", _unsetenv, Place.GLOBAL, "P1", most=None),
    Keyword("resetenv", "[<name>...]", "Unset all variables but these.", _resetenv, Place.GLOBAL, "P1", most=None),
    Keyword(
        "default-path",
        "current|config|parent|origin <dir>",
        "Where the relative paths of maps begin that `stick` and `balance hash` name.",
        _default_path,
        Place.GLOBAL,
        "P1",
        "current",
    ),
    Keyword(
        "localpeer",
        "<name>",
        "Name of this node among peers, which are not here yet: it becomes `HAPROXY_LOCALPEER` for the lines below, "
        "unless `-L` gave another.",
        _localpeer,
        Place.GLOBAL,
        "P1",
        "the host's name",
        most=1,
    ),
)
