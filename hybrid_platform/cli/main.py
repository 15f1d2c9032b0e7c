"""The group `hybrid-platform`: its commands, and the exit codes of errors."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from hybrid_platform import __version__
from hybrid_platform.cli import analysis, control, evidence, maintenance, run, sessions
from hybrid_platform.domain.errors import ExitCode, PlatformError

TRACE = "HYBRID_PLATFORM_DEBUG_TRACE"


class _Group(click.Group):
    """Command group that prints an operational error as one message and exits with its code; usage errors exit 64."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.exceptions.Abort:
            sys.exit(130)
        except click.ClickException as error:
            error.show()
            sys.exit(ExitCode.USAGE)
        except PlatformError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.exit(0)
        except Exception as error:
            if TRACE in os.environ:
                raise
            click.echo(
                f"error: {type(error).__name__}: {error} (a fault of the platform; {TRACE}=1 shows where)", err=True
            )
            sys.exit(ExitCode.CRASH)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hybrid-platform")
def main() -> None:
    """Prove that a trading strategy is safe before it touches money.

    Exit codes: 0 complete, 1 crash, 10 network, 11 parse, 12 config, 13 overload, 64 usage.
    """


for _module in (run, control, sessions, evidence, analysis, maintenance):
    for _command in _module.COMMANDS:
        main.add_command(_command)

if __name__ == "__main__":
    main()
