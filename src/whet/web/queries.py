"""What an address may be asked: a word that it does not know is refused, not passed over.

``?modell=base`` would otherwise be answered with another model, and nobody would know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from whet.web.problems import RefusedError

__all__ = ["refuse_unknown", "refuse_unknown_query"]


def refuse_unknown_query(request: Request) -> None:
    """Refuse a query of the API that holds a name which its route does not take.

    Raises:
        RefusedError: 422, with the names that it takes.
    """
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if dependant is not None and request.scope["path"].startswith("/api/"):
        refuse_unknown(request.query_params.keys(), _names(dependant.query_params))


def refuse_unknown(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names that are not known.

    Raises:
        RefusedError: 422, with the one that was probably meant, or all.
    """
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            words = (
                f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'nothing'}"
            )
            raise RefusedError(422, f"{name[:64]!r} means nothing here; {words}")


def _names(fields: Iterable[Any]) -> list[str]:
    """Return the names of query parameters, those inside a model too."""
    found: list[str] = []
    for field in fields:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += kind.model_fields
        else:
            found.append(field.alias)
    return found
