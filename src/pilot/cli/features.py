"""`pilot features`: the features document."""

from __future__ import annotations

import json

from .. import __version__
from ..spec import features
from .options import Arguments, Option
from .verb import Context

SUMMARY = "show the enabled features"
USAGE = ""
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (0, 0)


def run(context: Context, arguments: Arguments) -> int:
    context.write(json.dumps(features.features_document({"org.pilot.version": __version__}), indent=4) + "\n")
    return 0
