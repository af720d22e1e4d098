"""`logging_config`: loggers of servers and frameworks, into a ring."""

from __future__ import annotations

import os
from typing import Any

_LOGGERS = (
    "gunicorn.error",
    "gunicorn.access",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "django",
    "django.server",
)
"""Those that have handlers of their own unless they are told otherwise."""


def logging_config(
    level: int | str = "INFO",
    *,
    ring: str | None = None,
    file: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig` with which all loggers write through one
    `LogHandler`, those of gunicorn (`logconfig_dict`), uvicorn (`log_config`) and Django
    (`LOGGING`) too.

    `level`: of the root logger. Default: `"INFO"`. `ring`, `file`: the name of a ring, or its file;
    default, with neither: the mirror that the process finds in its environment, from a buffer's
    `popen`, a mirror's `environ`, or `linering run`.
    """
    handler: dict[str, Any] = {"class": "linering.LogHandler"}
    if ring is not None:
        handler["ring"] = ring
    if file is not None:
        handler["file"] = os.fspath(file)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"linering": handler},
        "root": {"level": level, "handlers": ["linering"]},
        "loggers": {name: {"handlers": [], "propagate": True} for name in _LOGGERS},
    }
