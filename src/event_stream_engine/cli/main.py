"""The `ese` command."""

from pathlib import Path
from typing import Annotated

import typer

from event_stream_engine.cli import (
    alerts,
    audit,
    campaigns,
    data,
    demo,
    doctor,
    exports,
    imports,
    incidents,
    notify,
    people,
    reports,
    serving,
)

app = typer.Typer(
    help="Event Stream Engine: messaging over Twilio with monitoring and analytics at its heart.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("up")(serving.up)
app.command("serve")(serving.serve)
app.command("work")(serving.work)
app.command("migrate")(data.migrate)
app.command("rebuild")(data.rebuild)
app.command("replay")(data.replay)
app.command("doctor")(doctor.examine)
app.command("simulate", hidden=True)(demo.simulate)
data.imports.command("users")(imports.import_people)
data.imports.command("waiting", hidden=True)(imports.import_waiting)
app.add_typer(data.imports, name="import")
app.command("export")(exports.export_rows)
app.add_typer(campaigns.campaign, name="campaign")
app.add_typer(alerts.alerts, name="alerts")
app.add_typer(incidents.incidents, name="incidents")
app.add_typer(reports.reports, name="reports")
app.add_typer(audit.audit, name="audit")
app.add_typer(notify.notify, name="notify")
app.add_typer(people.operators, name="operators")
app.add_typer(people.keys, name="keys")


# The web and everything below it take half a second to import, which every other command would pay: imported when asked for.
@app.command("docs", hidden=True)
def write_documents(
    folder: Annotated[Path, typer.Argument(help="where they go", file_okay=False)] = Path("docs"),
) -> None:
    """Write configuration.md, api.md, metrics.md and prometheus.md anew from the code."""
    from event_stream_engine.cli.documents import write_documents as write  # noqa: PLC0415

    write(folder)


def run() -> None:
    app()


if __name__ == "__main__":
    run()
