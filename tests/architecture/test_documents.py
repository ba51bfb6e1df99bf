"""Documents that say what the code says: made from it, or held to it."""

import ast
import re
from pathlib import Path

import pytest

from event_stream_engine.analytics.catalogue import METRICS
from event_stream_engine.cli.documents import DOCUMENTS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "event_stream_engine"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def list_anchors(page: Path) -> set[str]:
    """Return the anchors of a page as GitHub makes them from headings, and those written by hand."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_made_from_the_code_is_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == DOCUMENTS[name](), (
        f"docs/{name} is not what the code says: run `.venv/bin/ese docs`"
    )


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_link_between_documents_leads_somewhere(page: Path) -> None:
    for file, anchor in LINK.findall(page.read_text("utf-8")):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{shown(page)} links to {file}, which is not there"
        if anchor:
            assert anchor in list_anchors(target), (
                f"{shown(page)} links to #{anchor} of {file}, which is not there"
            )


def test_every_key_figure_has_its_definition() -> None:
    tree = ast.parse((SOURCE / "monitoring" / "dashboard.py").read_text("utf-8"))
    slugs = {
        word.value.value
        for word in ast.walk(tree)
        if isinstance(word, ast.keyword) and word.arg == "slug" and isinstance(word.value, ast.Constant)
    }
    assert slugs, "dashboard.py names no key figure: this test looks at the wrong place"
    assert slugs <= set(METRICS), f"analytics/catalogue.py lacks {sorted(slugs - set(METRICS))}"


def test_only_a_component_draws_a_figure_because_it_asks_the_catalogue() -> None:
    templates = SOURCE / "web" / "templates"
    drawing = [
        shown(page)
        for page in sorted(templates.glob("*.html"))
        if 'class="figure"' in page.read_text("utf-8")
    ]
    assert drawing == [shown(templates / "components.html")]


def test_every_table_is_described() -> None:
    made: set[str] = set()
    for script in sorted((SOURCE / "infra" / "migrations" / "versions").glob("*.sql")):
        for name, dropped in re.findall(
            r"^(?:CREATE (?:TABLE|VIEW) ([a-z_]+)|DROP TABLE ([a-z_, ]+);)",
            script.read_text("utf-8"),
            re.MULTILINE,
        ):
            made = made - set(dropped.split(", ")) | ({name} if name else set())
    described = set(
        re.findall(r"^### `([a-z_]+)`", (ROOT / "docs" / "data-model.md").read_text("utf-8"), re.MULTILINE)
    )
    assert made == described, f"docs/data-model.md: missing {made - described}, gone {described - made}"
