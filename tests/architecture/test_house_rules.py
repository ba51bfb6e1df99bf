"""The rules of docs/architecture.md that a program can check. Each failure says what to do."""

import ast
import re
from pathlib import Path

import pytest

from event_stream_engine.infra.queries import Query, load_queries

PACKAGE = "event_stream_engine"
SOURCE = Path(__file__).parents[2] / "src" / PACKAGE
MODULES = sorted(SOURCE.rglob("*.py"))
SLICES = sorted(path.parent.name for path in SOURCE.glob("*/queries.sql"))

LARGEST_MODULE_LINES = 400
FORBIDDEN_NAMES = frozenset(
    [
        "utils",
        "helpers",
        "common",
        "base",
        "manager",
        "service",
        "models",
        "views",
        "handlers",
        "types",
        "misc",
        "core",
    ]
)
# What only one module may do, as (name before the dot, name after it); None stands for any.
ONLY_IN = {
    "kernel/clock.py": {
        ("datetime", "now"),
        ("datetime", "utcnow"),
        ("datetime", "today"),
        ("date", "today"),
    },
    "infra/settings.py": {("os", "environ"), ("os", "getenv")},
    "infra/database.py": {(None, "commit")},
}
WRITE = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|COPY|TRUNCATE(?:\s+TABLE)?)\s+(?:ONLY\s+)?\"?([a-z_]+)"
)


def shown(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def without_comments(statements: str) -> str:
    return re.sub(r"--[^\n]*", "", statements)


def find_written(statements: str, tables: frozenset[str]) -> set[str]:
    return set(WRITE.findall(without_comments(statements))) & tables


def find_owned(docstring: str) -> frozenset[str]:
    sentence = re.search(r"Owns tables? (.*?)\.", docstring, re.DOTALL)
    return frozenset(re.findall(r"`([a-z_]+)`", sentence[1])) if sentence else frozenset()


def read_owners() -> dict[str, list[str]]:
    """Return the packages that say they own a table, by table."""
    owners: dict[str, list[str]] = {}
    for init in SOURCE.glob("*/__init__.py"):
        for table in find_owned(ast.get_docstring(ast.parse(init.read_text("utf-8"))) or ""):
            owners.setdefault(table, []).append(init.parent.name)
    return owners


def read_tables() -> set[str]:
    """Return the tables that there are after all migrations."""
    tables: set[str] = set()
    for script in sorted(SOURCE.glob("infra/migrations/versions/*.sql")):
        for made, dropped in re.findall(
            r"^(?:CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?([a-z_]+)|DROP TABLE ([a-z_, ]+);)",
            without_comments(script.read_text("utf-8")),
            re.MULTILINE,
        ):
            tables = tables - set(dropped.split(", ")) | ({made} if made else set())
    return tables


def read_queries(slice_name: str) -> dict[str, Query]:
    return load_queries(f"{PACKAGE}.{slice_name}").by_name


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_module_is_short_enough_to_be_read_at_once(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LARGEST_MODULE_LINES, (
        f"{shown(path)} has {lines} lines: split it where its subject changes"
    )


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_module_is_named_after_what_it_holds(path: Path) -> None:
    bad = FORBIDDEN_NAMES & {path.stem, *path.relative_to(SOURCE).parts[:-1]}
    assert not bad, f"{shown(path)}: {sorted(bad)} says nothing; name the thing or the process it holds"


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_clock_environment_and_commit_each_live_in_one_module(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    for home, names in ONLY_IN.items():
        if shown(path) == home:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else None
                assert not names & {(owner, node.attr), (None, node.attr)}, (
                    f"{shown(path)}:{node.lineno}: `.{node.attr}` belongs into {home} alone;"
                    " take a Clock, the Settings or a transaction as an argument"
                )


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=shown)
def test_package_init_holds_one_docstring_and_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{shown(path)}: say what the package is for and which tables it owns"
    assert len(tree.body) == 1, f"{shown(path)}: no re-exports; import from the module that defines a name"


@pytest.mark.parametrize("slice_name", SLICES)
def test_every_query_says_what_it_is_for_and_is_used(slice_name: str) -> None:
    source = "".join(path.read_text("utf-8") for path in MODULES)
    queries = read_queries(slice_name)  # refuses a header without `for` or `note`
    assert queries, f"{slice_name}/queries.sql holds no query: remove the file"
    for name, query in queries.items():
        for key in ("for", "note"):
            assert re.search(rf"^-- {key}: \S", query.sql, re.MULTILINE), (
                f"{slice_name}.{name}: `{key}` is empty"
            )
        assert re.search(rf"\.{name}\b", source), f"{slice_name}.{name} is used nowhere: remove it"


def test_every_table_is_owned_by_exactly_one_slice() -> None:
    owners = read_owners()
    for table in read_tables():
        assert len(owners.get(table, [])) == 1, (
            f"table {table} is owned by {owners.get(table, 'nobody')}: name it in the docstring of the one slice"
            " that writes it (Owns tables `a`, `b`.)"
        )
    gone = owners.keys() - read_tables()
    assert not gone, f"no migration makes {sorted(gone)}: take it out of the docstring that claims to own it"


def test_table_is_written_by_its_owner_alone() -> None:
    owners = read_owners()
    tables = frozenset(owners)
    for path in [*MODULES, *SOURCE.glob("*/queries.sql")]:
        writer = path.relative_to(SOURCE).parts[0]
        for table in find_written(path.read_text("utf-8"), tables):
            assert writer in owners[table], (
                f"{shown(path)} writes {table}, which {owners[table][0]} owns: any slice may read it, but call"
                f" {owners[table][0]} to change it"
            )


@pytest.mark.parametrize(
    ("statement", "written"),
    [
        ("INSERT INTO a (x) SELECT x FROM b", {"a"}),
        ("WITH gone AS (DELETE FROM b RETURNING x) UPDATE a SET x = 1", {"a", "b"}),
        ("INSERT INTO a VALUES (1) ON CONFLICT DO UPDATE SET x = 2", {"a"}),
        ("SELECT x FROM a FOR UPDATE -- UPDATE b", set()),
        ('COPY a (x) FROM STDIN; TRUNCATE TABLE "b"', {"a", "b"}),
        ("INSERT INTO elsewhere VALUES (1)", set()),
    ],
)
def test_write_is_recognised_in_every_form(statement: str, written: set[str]) -> None:
    assert find_written(statement, frozenset({"a", "b"})) == written


def test_no_form_of_the_api_can_be_sent_by_the_browser_itself() -> None:
    """Before its script is there a form would put its fields, also secret ones, into the address."""
    for template in sorted((SOURCE / "web" / "templates").glob("*.html")):
        for form in re.findall(r"<form\b[^>]*", template.read_text("utf-8")):
            assert "data-method=" not in form or 'method="dialog"' in form, f"{template.name}: {form}"
