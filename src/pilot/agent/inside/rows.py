"""What those inside may ask, each module with its own rows: the socket has these and no others."""

from __future__ import annotations

from ...server.routing import Route
from ..identity.own_token import OwnToken
from ..outward import Outward
from ..routes import routes
from ..services.api import ServicesApi
from .identity_api import IdentityApi
from .own_sprite import OwnSpriteApi
from .passing import PassingApi
from .self_api import SelfApi
from .tasks import Tasks, TasksApi


def rows(services: ServicesApi, tasks: Tasks, host: Outward) -> list[Route]:
    """Of the machine's own API they are answered what services are asked."""
    return routes((services, TasksApi(tasks), SelfApi(host), IdentityApi(host), OwnSpriteApi(host)))


def fly_rows(tasks: Tasks, host: Outward, token: OwnToken) -> list[Route]:
    """What /.fly/api has: no more than this."""
    return routes((TasksApi(tasks), SelfApi(host), IdentityApi(host), PassingApi(host, token)))
