"""Segments: named filters over the people, as a typed tree in JSON.

A tree is `{"and": […]}`, `{"or": […]}`, `{"not": …}` or a condition `{"field": …, "operator": …, "value": …}`; see
`conditions.py` for the fields. `{"and": []}` is everybody.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import sql

from event_stream_engine.audience.conditions import compile_leaf
from event_stream_engine.kernel.errors import Invalid

DEEPEST = 8
MOST_CONDITIONS = 100
ROOT = "filter"


def compile_filter(tree: object, now: datetime) -> tuple[sql.Composed, dict[str, Any]]:
    """Compile a filter to a condition over alias `u` of `users`, and its parameters, named `segment_<n>`.

    The condition is never NULL. `now` is what relative instants count from.
    Errors: Invalid naming the place in the tree, like `filter.and.0.operator`.
    """
    compiling = _Compiling(now)
    return sql.Composed([compiling.compile(tree, ROOT, 1)]), compiling.parameters


@dataclass(slots=True)
class _Compiling:
    now: datetime
    parameters: dict[str, Any] = field(default_factory=dict)
    conditions: int = 0

    def bind(self, value: object) -> sql.Placeholder:
        name = f"segment_{len(self.parameters)}"
        self.parameters[name] = value
        return sql.Placeholder(name)

    def compile(self, tree: Any, path: str, depth: int) -> sql.Composable:
        if depth > DEEPEST:
            raise Invalid(f"The filter is more than {DEEPEST} levels deep. Make it flatter.", path)
        match tree:
            case {"and": list(parts), **rest} if not rest:
                return self._join("and", parts, path, depth) if parts else sql.SQL("true")
            case {"or": list(parts), **rest} if not rest:
                if not parts:
                    raise Invalid(
                        "An `or` of nothing is nobody. Give it at least one condition.", f"{path}.or"
                    )
                return self._join("or", parts, path, depth)
            case {"not": part, **rest} if not rest:
                return sql.SQL("(NOT {})").format(self.compile(part, f"{path}.not", depth + 1))
            case {"field": _}:
                if unknown := tree.keys() - {"field", "operator", "value"}:
                    raise Invalid(f"A condition has no part {min(map(str, unknown))!r}.", path)
                self.conditions += 1
                self._limit(self.conditions, path)
                return compile_leaf(tree, path, self.now, self.bind)
            case _:
                raise Invalid(
                    'Expected {"and": [...]}, {"or": [...]}, {"not": ...} or {"field": ..., "operator": ..., "value": ...}.',
                    path,
                )

    def _join(self, name: str, parts: list[Any], path: str, depth: int) -> sql.Composable:
        self._limit(len(parts), f"{path}.{name}")
        compiled = [
            self.compile(part, f"{path}.{name}.{place}", depth + 1) for place, part in enumerate(parts)
        ]
        return sql.SQL("({})").format(sql.SQL(" AND " if name == "and" else " OR ").join(compiled))

    def _limit(self, conditions: int, path: str) -> None:
        if conditions > MOST_CONDITIONS:
            raise Invalid(f"The filter has more than {MOST_CONDITIONS} conditions. Make it simpler.", path)
