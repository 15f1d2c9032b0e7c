"""End of a run: measure its trading, write its reports, and seal its evidence.

in: the run's evidence and database · out: the measures, both reports, and the signed bundle (G5).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.evidence.bundle import SealedBundle, seal
from hybrid_platform.evidence.keys import load_signing_key
from hybrid_platform.evidence.records import SESSION, SessionEvidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.report.measures.records import Measures
from hybrid_platform.report.trading import write_trading
from hybrid_platform.report.writer import write_reports
from hybrid_platform.storage.engine import open_engine


class FinalizedRun(NamedTuple):
    """The reports and the bundle of a run."""

    report: Path
    seal: SealedBundle
    measures: Measures | None
    """None if there was no session, or if its rows could not be measured."""


def finalize_run(context: RunContext) -> FinalizedRun:
    """Measure a run's trading, write its reports, and seal its evidence, which is complete from then on."""
    measures = _measure(context)
    context.chain.flush()
    signer = load_signing_key(context.data_dir, context.settings.keys)
    report = write_reports(context.data_dir, context.session_id, signer.keyid)
    sealed = seal(context.data_dir, context.session_id, signer, context.clock)
    chain = sealed.chain
    context.log.info(
        "evidence sealed", bundle_sha256=sealed.sha256, keyid=sealed.keyid, events=chain.entries, head=chain.head
    )
    return FinalizedRun(report, sealed, measures)


def report_refusal(context: RunContext) -> None:
    """Write the reports of a refused run; log a failure to do so."""
    try:
        report = write_reports(context.data_dir, context.session_id)
    except PlatformError as error:
        context.log.warning("the refusal's report could not be written", error=str(error))
    else:
        context.log.info("refusal reported", report=str(report))


def _measure(context: RunContext) -> Measures | None:
    if context.read(SESSION, SessionEvidence) is None:
        return None
    engine = open_engine(context.database_url, role="read", single_connection=True)
    try:
        return write_trading(context.data_dir, engine, context.session_id)
    except (PlatformError, ValueError, ArithmeticError, LookupError) as error:
        # Rows changed by another program may hold anything; judging them is the task of postflight.
        context.log.warning("the session's trading could not be measured", error=f"{type(error).__name__}: {error}")
        return None
    finally:
        engine.dispose()
