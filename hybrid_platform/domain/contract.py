"""The behaviour contract: every id that code, logs, tests, evidence and reports cite, with its statement.

`docs/contract.md` shows the same entries. A session's postflight judges the scenarios, invariants and gates
(`SESSION_IDS`); the verification matrix proves all of `CONTRACT_IDS` (G5).
"""

from __future__ import annotations

from typing import NamedTuple


class Clause(NamedTuple):
    """One entry of the contract."""

    id: str
    statement: str
    """One sentence, shown in evidence, in reports and in the verification matrix."""
    detail: str = ""
    """The exact conditions and figures, for `docs/contract.md`."""


SCENARIOS = (
    Clause(
        "S1",
        "At the start the PRAGMAs are applied, read back and logged, and the schema migrations run",
        "A PRAGMA with a wrong value stops the start.",
    ),
    Clause("S2", "Given a valid WebSocket endpoint and symbols, the feed connects, subscribes and emits ticks"),
    Clause(
        "S3",
        "After a dropped connection the feed reconnects, resumes without duplicates and records the gap",
        "Reconnects wait with exponential backoff and jitter, up to a maximum.",
    ),
    Clause(
        "S4",
        "A silent connection is probed with a ping and replaced when it stays silent",
        "Without a pong, or without data for `stall_seconds`, the feed reconnects; after `max_failures` consecutive "
        "failures the session ends with NETWORK (10).",
    ),
    Clause(
        "S5",
        "A malformed message is rejected and counted, and the session continues",
        "One sample of it is logged.",
    ),
    Clause(
        "S6",
        "A full channel applies its stated policy, counts exactly and keeps memory bounded",
    ),
    Clause(
        "S7",
        "A signal on stale data is vetoed with STALE_DATA, and the veto is persisted",
        "Data is stale when it is older than `max_staleness_ms`, from event to receipt or from receipt to decision. "
        "The time of the decision is journalled.",
    ),
    Clause("S8", "The same ticks give identical signals, also in a fresh process"),
    Clause(
        "S9",
        "In SHADOW a signal becomes a recorded shadow order, and no endpoint is called",
        "The order records its size, its price, and the fee and slippage assumptions.",
    ),
    Clause("S10", "Every state transition of an order is persisted with its time and reason"),
    Clause(
        "S11",
        "After a partial fill the remaining size, the exposure and the accounts are correct",
        "The rest of the order can be canceled, and no fill is counted twice.",
    ),
    Clause("S12", "While the database is locked the writer waits or retries, without a crash and without losing rows"),
    Clause(
        "S13",
        "On SIGINT, SIGTERM or termination the session drains, flushes and writes a clean end marker",
    ),
    Clause("S14", "LIVE is refused unless G1 holds, and the refusal says why"),
    Clause(
        "S15",
        "When other processes take the CPU the session stays within its pressure limits or throttles its input",
        "Within the limits the healthcheck passes and no tick is missing. Above them the throttle ladder 1, 2, 5, 10 "
        "throttles live feeds at ingest; ticks that are sampled out are neither shown to the strategy nor persisted, "
        "but counted. Sustained pressure at the top of the ladder ends the session with OVERLOAD (13).",
    ),
)
INVARIANTS = (
    Clause(
        "I1",
        "In SHADOW and PAPER the strategy, the risk engine and execution make no network call",
        "Tested with at least 1,000 generated sequences of signals, and enforced at run time.",
    ),
    Clause(
        "I2",
        "The risk caps are never exceeded, pending orders included",
        "The caps are total exposure (10,000 USD), exposure per symbol (5,000 USD) and open orders (10). They are "
        "checked at approval: the position plus all pending orders, at the reference price × (1 + collar) for either "
        "side. A signal that would exceed a cap is vetoed with RISK_CAP (tested with at least 500 sequences). The "
        "market may carry an existing position past a cap; then only orders that reduce it pass.",
    ),
    Clause("I3", "The same tick, signal or fill, received again with the same id, changes nothing"),
    Clause(
        "I4",
        "Every fill conserves value: change of cash + change of position × fill price + fees = 0, exactly",
        "Profit and loss derive from the persisted fills alone.",
    ),
    Clause(
        "I5",
        "Every SQLite connection uses WAL, synchronous NORMAL, a busy timeout and an in-memory temporary store",
        "`busy_timeout` is at least 5000 ms and `temp_store` is MEMORY. The values are applied to every connection "
        "and read back.",
    ),
    Clause("I6", "The strategy and execution never wait for disk"),
    Clause(
        "I7",
        "Under CPU contention the healthcheck, database reads and heartbeats stay responsive",
        "The healthcheck answers within its time limit, and heartbeats stay on time.",
    ),
)
GATES = (
    Clause(
        "G0",
        "SHADOW is the default mode",
        "Evidence: the settings, and a test of the default.",
    ),
    Clause(
        "G1",
        "The healthcheck passes before and after the session, and LIVE is locked",
        "Evidence: the healthcheck records, and the refusal of LIVE.",
    ),
    Clause(
        "G2",
        "CPU pressure is below its limit before and after the session",
        "The measure is `some avg10` of the kernel's PSI, the limit 20 % (configurable; 100 or more switches the gate "
        "off). Both checks wait up to `pressure_wait_seconds` and record the first and the last reading. Without PSI "
        "the verdict is UNAVAILABLE: the load average ÷ cores × 100 is compared with the limit, and LIVE refuses.",
    ),
    Clause(
        "G3",
        "The PRAGMAs are applied",
        "Evidence: the values read back from each connection.",
    ),
    Clause(
        "G4",
        "The session sends its heartbeats on time, and none is missing",
        "The default interval is 10 s. Evidence: the heartbeats themselves, none late and none missing.",
    ),
    Clause(
        "G5",
        "The contract is met: every entry that can be proved here is proved",
        "In a session, every row that the session itself can prove passed, and the others are NOT_RUN. The full "
        "verification matrix is a separate job; LIVE needs it for the commit that runs.",
    ),
)
PROHIBITIONS = (
    Clause("L1", "Never trade LIVE unless G1 holds"),
    Clause("L2", "Never trade on stale data"),
    Clause("L3", "Never crash as a whole because of one malformed message or one database lock"),
    Clause("L4", "Never swallow an execution or persistence error"),
)

CONTRACT = {clause.id: clause for clause in (*SCENARIOS, *INVARIANTS, *GATES, *PROHIBITIONS)}
"""Every clause by id, in the order of the verification matrix."""
CONTRACT_IDS = tuple(CONTRACT)
GATE_IDS = tuple(clause.id for clause in GATES)
SESSION_IDS = tuple(clause.id for clause in (*SCENARIOS, *INVARIANTS, *GATES))
"""The ids that the postflight of a session lists, judged or NOT_RUN."""
HOST_GATE_IDS = ("G1", "G2")
"""Judged from the host: postflight reports why they failed from the host checks themselves."""
SUMMARY_ID = "G5"
"""Judged from all other ids."""
