"""Sample expressions, `fetch(args),converter(args),...`: one language for logs, stick rules, balancing, maps."""
