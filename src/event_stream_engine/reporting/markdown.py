"""A report as Markdown: complete, and readable as it is."""

from event_stream_engine.kernel.markdown import escape, write_table
from event_stream_engine.reporting.documents import Document, Table


def write_markdown(document: Document) -> str:
    """Return a report as Markdown. The values of its charts are tables."""
    parts = [
        f"# {document.title}, {document.subtitle}",
        escape(document.state),
        *_write_restated(document),
        escape(document.lead),
        _write_figures(document),
        "## Areas for improvement",
        *(_write_improvements(document) or ["Nothing stands out."]),
        "## Best campaigns",
        _write(document.campaigns) or "No campaign sent thirty messages, which a comparison needs.",
        "## Why messages failed",
        _write(document.failures) or "No message failed.",
        f"## {document.course_title}",
        _write(document.course),
        *_write_list("## Not known", document.unknown),
        "## Definitions",
        "\n".join(_define(*one) for one in document.definitions),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _write_restated(document: Document) -> list[str]:
    if not document.restated:
        return []
    return [f"**Restated:** {escape(document.restated)}", _write(document.changes)]


def _write_figures(document: Document) -> str:
    titles = ["Figure", "Value"]
    if document.compared_with:
        titles.append(f"Against {document.compared_with}")
    rows = [
        (one.name, f"{one.value} {one.unit}".rstrip() + (f" ({one.note})" if one.note else ""), one.change)
        for one in document.figures
    ]
    return write_table(titles, [row[: len(titles)] for row in rows], [False, True, True][: len(titles)])


def _write_improvements(document: Document) -> list[str]:
    parts = []
    for number, one in enumerate(document.improvements, 1):
        parts += [f"{number}. {escape(one.text)}", _indent(_write(one.evidence))]
    return parts


def _write(table: Table) -> str:
    titles = [title for title, _ in table.columns]
    return write_table(titles, table.rows, [kind == "number" for _, kind in table.columns])


def _write_list(title: str, lines: tuple[str, ...]) -> list[str]:
    return [title, "\n".join(f"- {escape(line)}" for line in lines)] if lines else []


def _define(name: str, formula: str, note: str) -> str:
    """The catalogue's texts are Markdown themselves."""
    return f"- **{name}**: {formula}" + (f". {note}" if note else "")


def _indent(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())
