"""The runtime API from a terminal: `pasvport ctl` and `pasvport top`. Knows nothing but the API's text."""
