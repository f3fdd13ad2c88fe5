"""The command line: which commands there are.

Commands import what they need themselves: the records bring pyarrow with them, learners PyTorch, and who asks for help
or checks a scenario waits for neither.
"""

from __future__ import annotations

from typing import Annotated

import typer

from netsim.app.commands.check import check, verify
from netsim.app.commands.look import compare, plot, report, watch
from netsim.app.commands.names import keys, list_
from netsim.app.commands.partition import partition
from netsim.app.commands.run import resume, retime, run
from netsim.app.commands.sweep import sweep

app = typer.Typer(
    help="Simulate wireless devices that learn together: accuracy, latency and energy on one clock.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"netsim {version('netsim')}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    pass


for _command in (run, resume, retime, sweep, report, compare, plot, watch, check, verify, partition):
    app.command()(_command)
app.command("list")(list_)
app.command()(keys)
