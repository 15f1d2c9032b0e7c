"""Local venue for trying a live session without internet: ``python -m hybrid_platform.testing``.

Sends generated Binance trades, or a recording, on a port of this machine until it is interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from hybrid_platform.testing import Drop, LocalVenue, Send, VenueAction, binance_trades, recorded_frames


def main() -> int:
    """Serve until interrupted; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hybrid_platform.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT", help="symbols of the generated trades")
    parser.add_argument("--rate", type=float, default=50.0, help="frames per second")
    parser.add_argument("--drop-every", type=int, metavar="FRAMES", help="cut the connection after this many frames")
    parser.add_argument("--recording", help="send the frames of this file instead")
    given = parser.parse_args()
    frames = recorded_frames(given.recording) if given.recording else binance_trades(given.symbols.split(","))
    script: list[VenueAction] = [Send(given.drop_every, given.rate), *([Drop()] if given.drop_every else [])]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with LocalVenue(frames, [script] * 100_000, port=given.port) as venue:
            sys.stdout.write(f"{venue.url}\n")
            sys.stdout.flush()
            stop.wait()
            sys.stdout.write(f"sent {venue.sent} frames to {venue.attempts} connections\n")
    except OSError as error:
        sys.stderr.write(f"port {given.port}: {error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
