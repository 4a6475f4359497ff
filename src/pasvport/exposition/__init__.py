"""How statistics are written: HAProxy's CSV, typed, JSON and text forms, and the server-state format. Pure."""
