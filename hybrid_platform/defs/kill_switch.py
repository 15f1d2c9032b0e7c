"""The kill switch in the UI: jobs that halt, reduce and resume trading in the running session and after it."""

import dagster as dg

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.commands import CommandFile
from hybrid_platform.settings.session import load_settings

_SAID = {
    "who": dg.Field(str, description="Who says so."),
    "why": dg.Field(str, description="The reason; it is kept."),
}


def _job(name: str, kind: CommandKind, description: str) -> dg.JobDefinition:
    @dg.op(name=f"{name}_now", config_schema=_SAID, required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
    def give(context: dg.OpExecutionContext) -> None:
        try:
            command = Command(kind, context.op_config["who"], context.op_config["why"])
            data_dir = DataDir(load_settings(context.resources.session.stated).data_dir)
            CommandFile(data_dir, SystemClock()).give(command)
        except (PlatformError, ValueError) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from None
        context.add_output_metadata({"trading": kind.state.value, "who": command.who, "why": command.why})

    @dg.job(name=name, description=description, executor_def=dg.in_process_executor)
    def switch() -> None:
        give()

    return switch


halt_job = _job("halt_trading", CommandKind.HALT, "No order at all from now on, until a person resumes.")
reduce_job = _job("reduce_trading", CommandKind.REDUCE, "Only orders that make a position smaller, until a resume.")
resume_job = _job("resume_trading", CommandKind.RESUME, "Let trading go on after a halt, with a reason.")
