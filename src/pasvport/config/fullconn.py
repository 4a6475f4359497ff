"""The default of `fullconn`. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

from dataclasses import replace

from pasvport.model import Config, Proxy


def fill_fullconn(config: Config) -> Config:
    """Give every backend without `fullconn` a tenth (rounded up) of the maxconn of the frontends that lead to it.

    As for HAProxy, a `use_backend` rule leads there when it names a backend, not when an expression does.
    A frontend without maxconn has the process's; while that is unknown (0), so is the backend's fullconn. Start-up
    calls this again once it has derived the process's maxconn.
    """
    load: dict[str, list[int]] = {}
    for proxy in config.proxies:
        if proxy.is_frontend and not proxy.disabled:
            for name in _targets(proxy):
                load.setdefault(name, []).append(proxy.maxconn or config.settings.maxconn)
    return replace(config, proxies=tuple(_filled(proxy, load.get(proxy.name, [])) for proxy in config.proxies))


def _targets(frontend: Proxy) -> set[str]:
    rules = (rule.expression for rule in frontend.use_backend)
    named = {rule.text for rule in rules if rule.fetch == "str" and rule.args == (rule.text,)}
    return named | {frontend.default_backend or frontend.name}


def _filled(proxy: Proxy, load: list[int]) -> Proxy:
    if proxy.fullconn or not proxy.is_backend or not all(load):
        return proxy
    return replace(proxy, fullconn=(sum(load) + 9) // 10)
