"""Expressions as words of a line that is obeyed before there is a server: of `stick`, `balance hash`, `use_backend`."""

from __future__ import annotations

from pasvport.config.cursor import LineError
from pasvport.config.diagnostics import nearest
from pasvport.config.syntax import Word
from pasvport.model import Expression, KeyType
from pasvport.sample.casts import CASTS
from pasvport.sample.expressions import needs_server, parse_expression, result_kind
from pasvport.sample.scan import SampleError


def read_expression(word: Word) -> Expression:
    """The expression that a word is. Raises LineError in HAProxy's words; for one about the server too."""
    try:
        expression = parse_expression(word.text)
    except SampleError as error:
        raise LineError(str(error), word, nearest(error.name, error.known) or "") from None
    if needs_server(expression):
        what = f"fetch method '{expression.fetch}' extracts information from the server"
        raise LineError(f"{what}, which is not available during request.", word)
    return expression


def fits(expression: Expression, key: KeyType) -> bool:
    """Whether a table with such keys can hold the result."""
    return result_kind(expression) in CASTS[key]
