"""What operators have changed about frontends and about the process as a whole, beside what the configuration says.

The truth that statistics show and workers are told; `control.api` gives the orders.
"""

from __future__ import annotations

from pasvport.model import Config, Proxy


class Doors:
    """Limits in force, and which frontends were closed. Frontends are named by their index."""

    def __init__(self, config: Config) -> None:
        settings = config.settings
        self.hard_maxconn = settings.maxconn
        """What `set maxconn global` may not exceed."""
        self.maxconn = settings.maxconn
        self.connection_rate = settings.maxconnrate
        self.session_rate = settings.maxsessrate
        self.disabled: set[int] = set()
        self.shut_down: set[int] = set()
        self._frontends = {
            proxy.index: proxy.maxconn or settings.maxconn for proxy in config.proxies if proxy.is_frontend
        }

    def adopt(self, other: Doors) -> None:
        """Everything as `other` has it, which is about the same frontends."""
        self.maxconn = other.maxconn
        self.connection_rate, self.session_rate = other.connection_rate, other.session_rate
        self.disabled, self.shut_down = set(other.disabled), set(other.shut_down)
        self._frontends = dict(other._frontends)

    def status_of(self, frontend: Proxy) -> str:
        """OPEN, PAUSED (`disable frontend`) or STOP (`shutdown frontend`)."""
        if frontend.index in self.shut_down:
            return "STOP"
        return "PAUSED" if frontend.index in self.disabled else "OPEN"

    def maxconn_of(self, frontend: Proxy) -> int:
        """The limit in force of a frontend."""
        return self._frontends[frontend.index]

    def set_maxconn_of(self, frontend: Proxy, value: int) -> None:
        """Another limit for a frontend; 0 stands for the process's own."""
        self._frontends[frontend.index] = value or self.maxconn
