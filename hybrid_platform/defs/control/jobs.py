"""The kill switch in the UI: jobs that halt, reduce and resume trading, in the running session and in later ones."""

import dagster as dg

from hybrid_platform.defs.shared.runs import load_run_settings
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.session.commands import CommandFile

_OP_CONFIG = {
    "who": dg.Field(str, description="Who gives the command."),
    "why": dg.Field(str, description="The reason; it is kept."),
}


def _build_job(name: str, kind: CommandKind, description: str) -> dg.JobDefinition:
    @dg.op(name=f"{name}_now", config_schema=_OP_CONFIG, required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
    def give_command(context: dg.OpExecutionContext) -> None:
        try:
            command = Command(kind, context.op_config["who"], context.op_config["why"])
            _, data_dir = load_run_settings(context)
            CommandFile(data_dir, SystemClock()).append(command)
        except (PlatformError, ValueError) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from None
        context.add_output_metadata({"trading": kind.state.value, "who": command.who, "why": command.why})

    @dg.job(name=name, description=description, executor_def=dg.in_process_executor)
    def switch() -> None:
        give_command()

    return switch


halt_job = _build_job("halt_trading", CommandKind.HALT, "No order at all from now on, until a person resumes.")
reduce_job = _build_job("reduce_trading", CommandKind.REDUCE, "Only orders that reduce a position, until a resume.")
resume_job = _build_job("resume_trading", CommandKind.RESUME, "Resume trading after a halt, with a reason.")
