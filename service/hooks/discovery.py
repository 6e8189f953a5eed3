"""The discovery document: which services there are, and what each asks the EHR for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from service.knowledge.hooks_file import Hooks, Service


def default_hooks(hooks: Hooks) -> tuple[str, ...]:
    """The hooks that are served when nothing else is configured."""
    return tuple(one.hook for one in hooks.services.values() if one.on_by_default)


def enabled_services(hooks: Hooks, enabled: Collection[str]) -> dict[str, Service]:
    """The services of the hooks that are served, by id. Raises ValueError for a hook that there is not."""
    known = {one.hook for one in hooks.services.values()}
    unknown = sorted(set(enabled) - known)
    if unknown:
        raise ValueError(f"no such hook: {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return {key: one for key, one in hooks.services.items() if one.hook in enabled}


def discovery(hooks: Hooks, enabled: Collection[str]) -> dict[str, Any]:
    """The body of GET /cds-services; the same each time."""
    return {"services": [_described(hooks, one) for one in enabled_services(hooks, enabled).values()]}


def _described(hooks: Hooks, service: Service) -> dict[str, Any]:
    return {
        "hook": service.hook,
        "title": service.title,
        "description": service.description,
        "id": service.id,
        "prefetch": {key: hooks.prefetch[key].query for key in service.prefetch},
        "usageRequirements": service.usage_requirements,
        "version": hooks.specification,
        "hookVersion": service.hook_version,
    }
