"""Which facade serves which Host and path: the one place where another one joins.

ingress   whatever is below the domain: one sprite, one app, or none
login     /login, for people with a browser
machines  /v1/apps, /v1/platform and /spec: Fly's Machines API
sprites   everything else
"""

from __future__ import annotations

from .api.machines import calls as machine_calls
from .api.sprites import calls
from .ingress.apps.directory import Directory
from .ingress.apps.facade import Apps
from .ingress.entrance import LOGIN_PATH, Entrance
from .ingress.facade import Ingress
from .ingress.front import Front
from .ingress.seals import Seals
from .ingress.sites import Sites
from .ingress.visitors import Visitors
from .relay.access import Access
from .relay.edge import Facade, Route
from .services.fly import FlyMachines
from .services.front import Fronts


def apps_of(access: Access, seals: Seals, fly: FlyMachines) -> Apps:
    """What serves apps, at whichever address."""
    return Apps(fly, Directory(fly.ways, access.domain), Visitors(access.authenticator, seals))


def route(
    access: Access, seals: Seals, fly: FlyMachines, apps: Apps, front: Front | None = None,
    https_port: int | None = None,
) -> Route:  # fmt: skip
    """Asked for each request, so that what shares a connection shares no more than that."""
    sprites, domain = calls.facade(access), access.domain
    machines = machine_calls.facade(access, fly)
    sites, visitors = Sites(access.sprites, domain), Visitors(access.authenticator, seals)
    entrance = Entrance(sites, visitors)
    fronts = front or Fronts(access.sprites)
    ingress = Ingress(access.sprites, access.activity, sites, visitors, entrance, fronts, apps, https_port)

    def to_facade(host: str, path: bytes) -> Facade:
        if domain.is_below(host):
            return ingress.serve
        if any(path == prefix or path.startswith(prefix + b"/") for prefix in machine_calls.PREFIXES):
            return machines
        return entrance.serve_login if path == LOGIN_PATH else sprites

    return to_facade
