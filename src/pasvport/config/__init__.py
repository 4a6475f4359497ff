"""Text to model: lexer, parser, keyword tables, compiler. Pure: no socket, clock or randomness."""
