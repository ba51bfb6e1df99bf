"""The `ese` command."""

import typer

from event_stream_engine.cli import (
    alerts,
    audit,
    campaigns,
    data,
    demo,
    doctor,
    documents,
    imports,
    incidents,
    notify,
    people,
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
app.command("docs", hidden=True)(documents.write_documents)
data.imports.command("users")(imports.import_people)
data.imports.command("waiting", hidden=True)(imports.import_waiting)
app.add_typer(data.imports, name="import")
app.add_typer(campaigns.campaign, name="campaign")
app.add_typer(alerts.alerts, name="alerts")
app.add_typer(incidents.incidents, name="incidents")
app.add_typer(audit.audit, name="audit")
app.add_typer(notify.notify, name="notify")
app.add_typer(people.operators, name="operators")
app.add_typer(people.keys, name="keys")


def run() -> None:
    app()


if __name__ == "__main__":
    run()
