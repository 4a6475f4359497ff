"""What an operator's orders do in a worker. Every one may be repeated: a worker that starts late is told them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from pasvport.engine.backends import LiveBackend
from pasvport.engine.frontends import rate_limits
from pasvport.engine.listeners import LiveListener
from pasvport.engine.plant import Plant
from pasvport.wire import FrontendClosed, Message, RatesLimited, ServerReplaced


class Ordered(Protocol):
    """A worker, as far as orders go."""

    @property
    def plant(self) -> Plant: ...
    @property
    def listeners(self) -> Iterable[LiveListener]: ...
    @property
    def backends(self) -> Mapping[int, LiveBackend]: ...


def _frontend_closed(worker: Ordered, message: Message) -> None:
    assert isinstance(message, FrontendClosed)
    for listener in worker.listeners:
        if listener.frontend.proxy.index == message.proxy:
            listener.bar(message.closed)


def _rates_limited(worker: Ordered, message: Message) -> None:
    assert isinstance(message, RatesLimited)
    plant = worker.plant
    settings = replace(
        plant.config.settings, maxconnrate=message.connections_per_second, maxsessrate=message.sessions_per_second
    )
    plant.config = replace(plant.config, settings=settings)
    for frontend in {id(listener.frontend): listener.frontend for listener in worker.listeners}.values():
        frontend.rates = rate_limits(plant, frontend.cells, frontend.proxy)


def _server_replaced(worker: Ordered, message: Message) -> None:
    assert isinstance(message, ServerReplaced)
    backend = worker.backends.get(message.proxy)
    if backend is not None:
        backend.servers[message.server].move(message.model, backend.proxy, worker.plant.config.settings)


ORDERS: Final[Mapping[type, Callable[[Ordered, Message], None]]] = {
    FrontendClosed: _frontend_closed,
    RatesLimited: _rates_limited,
    ServerReplaced: _server_replaced,
}
