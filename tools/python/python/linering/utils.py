"""syncstream's `utils`: modules that are imported at their first use. The package itself has no use
for them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

__all__ = (
    "ModuleReplaceError",
    "cancel_type",
    "get_lazy_attribute",
    "is_module_invalid",
    "lazy_import",
)


class ModuleReplaceError(ImportError):
    """A module is there already whose place another one was to take."""


class _Placeholder(ModuleType):
    """In the place of a module that cannot be imported: what is used of it says so."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(
            f"found no module {self.__name__!r}, or not all that it needs: expected it for {name!r}"
        )


class _Lazy(ModuleType):
    """In the place of a module that is imported at its first use."""

    def __init__(self, name: str, needed: Sequence[ModuleType]) -> None:
        super().__init__(name)
        self.__needed = needed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for each in self.__needed:
            if isinstance(each, _Lazy):
                importlib.import_module(each.__name__)
        return getattr(importlib.import_module(self.__name__), name)


class _LazyAttribute:
    """In the place of an attribute of a lazy module."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self.__module = module
        self.__name = name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return getattr(self.__module, self.__name)(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self.__module, self.__name), name)


def cancel_type(data: Any) -> Any:
    """The same, of a type that no type checker knows."""
    return data


def lazy_import(
    name: str,
    package: str | None = __package__,
    required: bool = True,
    dependencies: str | Sequence[str] | None = None,
    rel_dependencies: ModuleType | Sequence[ModuleType] | None = None,
) -> ModuleType:
    """A module that is imported at its first use. `dependencies` are modules that have to be
    there, `rel_dependencies` lazy ones that are imported first.

    Without it, or one of `dependencies`, raises `ModuleNotFoundError` if it is `required`, else
    gives a module of which nothing can be used.
    """
    full_name = f"{package}.{name}" if package else name
    if full_name in sys.modules:
        return sys.modules[full_name]
    names = [dependencies] if isinstance(dependencies, str) else list(dependencies or ())
    if any(importlib.util.find_spec(each) is None for each in [*names, full_name]):
        if required:
            raise ModuleNotFoundError(
                f"found no module {full_name!r}, or not all of {names} that it needs"
            )
        return _Placeholder(full_name)
    needed = rel_dependencies or ()
    return _Lazy(full_name, [needed] if isinstance(needed, ModuleType) else list(needed))


def get_lazy_attribute(module: ModuleType, attr: str, parent: str) -> Any:
    """An attribute of a lazy module, which is imported when that is used; `None` of one that cannot
    be imported. `parent` is where it will stand.
    """
    return None if is_module_invalid(module) else _LazyAttribute(module, attr)


def is_module_invalid(module: ModuleType) -> bool:
    """Whether `lazy_import` gave it for a module that cannot be imported."""
    return isinstance(module, _Placeholder)
