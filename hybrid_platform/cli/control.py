"""The kill switch: `halt`, `reduce` and `resume`, in the running session and in later ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybrid_platform.cli.options import config_option, data_dir_option, read_settings, set_option


def _build_command(name: str, help_text: str) -> click.Command:
    @click.command(name, help=help_text)
    @click.option("--why", required=True, help="The reason; it is kept.")
    @click.option("--who", help="Who gives the command (default: the account that runs it).")
    @config_option
    @set_option
    @data_dir_option
    def give_command(
        why: str, who: str | None, config_file: Path | None, assignments: tuple[str, ...], **flags: Any
    ) -> None:
        import getpass

        from hybrid_platform.domain.clocks import SystemClock
        from hybrid_platform.domain.commands import Command, CommandKind
        from hybrid_platform.security.paths import DataDir
        from hybrid_platform.session.commands import CommandFile

        data_dir = DataDir(read_settings(config_file, assignments, **flags).data_dir)
        try:
            command = Command(CommandKind(name.upper()), who or getpass.getuser(), why)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        CommandFile(data_dir, SystemClock()).append(command)
        click.echo(f"trading {command.kind.state} by {command.who}: {command.why} (in {data_dir.root})")

    return give_command


halt = _build_command("halt", "Halt trading in the running session, and in every later one until a resume.")
reduce = _build_command("reduce", "Let only orders pass that make a position smaller, until a resume.")
resume = _build_command("resume", "Resume trading after a halt; needs a person and a reason.")

COMMANDS = (halt, reduce, resume)
