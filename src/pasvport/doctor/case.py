"""All that the rules look at: the configuration, its FTP services, the machine, and what probes have seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pasvport.doctor.machine import Machine
from pasvport.doctor.services import Service, find_services
from pasvport.doctor.visit import Visit
from pasvport.model import Config, Mode, Server


@dataclass(frozen=True, slots=True)
class Case:
    """`machine` None: only the text is looked at. `public` are addresses by which clients reach the balancer.

    `now` (epoch seconds) is for certificates.
    """

    config: Config
    services: tuple[Service, ...]
    machine: Machine | None = None
    public: tuple[str, ...] = ()
    visits: tuple[Visit, ...] = ()
    now: float = 0.0

    @classmethod
    def of(cls, config: Config, machine: Machine | None = None, public: tuple[str, ...] = ()) -> Case:
        return cls(config, find_services(config), machine, public)

    def services_of(self, mode: Mode) -> Iterator[Service]:
        return (service for service in self.services if service.mode is mode)

    def seen(self, mode: Mode | None = None) -> Iterator[tuple[Service, Server, Visit]]:
        """Every visit with the services (of `mode`) that its server belongs to."""
        by_place = {(visit.backend, visit.server, visit.port): visit for visit in self.visits}
        for service in self.services if mode is None else self.services_of(mode):
            for server, port in service.control_places():
                visit = by_place.get((service.backend.name, server.name, port))
                if visit is not None:
                    yield service, server, visit
