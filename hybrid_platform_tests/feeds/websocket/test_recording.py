"""Recording of frames and their replay through the same decoder (S5, S8)."""

from __future__ import annotations

import gzip
import os
import stat
import threading
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_S, SystemClock
from hybrid_platform.domain.errors import ConfigError, FeedParseError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.files.sources import find_sources
from hybrid_platform.feeds.websocket import RecordedFramesFeed
from hybrid_platform.feeds.websocket.playback import RecordedFrame, read_frames
from hybrid_platform.feeds.websocket.recording import FrameRecorder
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.feeds import ReplayFeed
from hybrid_platform.testing import (
    Drop,
    Garbage,
    ListLog,
    LocalVenue,
    NotUtf8,
    Repeat,
    Send,
    Skip,
    TestClock,
    binance_trades,
    recorded_frames,
)
from hybrid_platform_tests.feeds.websocket.live import LiveRun, binance
from hybrid_platform_tests.feeds.websocket.samples import TRADES

T0 = 1_700_000_000 * NS_PER_S


def recorder(folder: Path, log: ListLog | None = None, *, segment: int = 10**9, limit: int = 10**9) -> FrameRecorder:
    return FrameRecorder(DataDir(folder), "s/01-X", segment_bytes=segment, max_bytes=limit, log=log or ListLog())


def replay(
    path: Path | list[Path], frames: dict | None = None, clock=None, **settings
) -> tuple[LiveRun, RecordedFramesFeed]:
    paths = [str(item) for item in (path if isinstance(path, list) else [path])]
    feed = RecordedFramesFeed(
        ReplayFeed.model_validate({"path": paths, "frames": frames or {"venue": "binance"}, **settings}),
        InstrumentTable(),
        clock or SystemClock(),
    )
    feed.open()
    return LiveRun(binance("wss://unused.example/")), feed


def play(path: Path | list[Path], **options) -> LiveRun:
    run, feed = replay(path, **options)
    for batch in feed.batches(threading.Event()):
        run.take(batch)
    return run


@pytest.mark.scenario("S5", "S8")
def test_a_recording_replays_identically(tmp_path):
    """Ticks, rejections and gaps are the same."""
    script = [[Send(100), Garbage(), Drop()], [Skip(9), Send(50), NotUtf8()], [Repeat(5), Send()]]
    with LocalVenue(islice(binance_trades(), 259), script) as venue:
        live = LiveRun(binance(venue.url), store=DataDir(tmp_path), record_frames=True).until_ticks(255)
    [path] = (tmp_path / "frames" / "session").iterdir()
    assert path.name == "01-BINANCE-00001.rec.gz"
    again = play(path)
    assert list(map(repr, again.ticks)) == list(map(repr, live.ticks))
    assert again.rejected == live.rejected
    assert again.ignored == live.ignored
    assert [(gap.from_id, gap.to_id, gap.missing) for gap in again.gaps] == [("100", "110", 9)]
    assert live.stats.recorded_frames == live.stats.frames


def test_recordings_are_private_to_their_owner(tmp_path):
    kept = recorder(tmp_path)
    kept.write(T0, "x")
    kept.close()
    [path] = tmp_path.rglob("*.gz")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


FRAMES = st.lists(
    st.tuples(
        st.integers(0, 4 * 10**18),
        st.one_of(
            st.tuples(st.binary(max_size=50), st.just(True)),
            st.tuples(st.text(max_size=50), st.just(False)),
            st.tuples(st.sampled_from(["\n", "\r\n", "a\nb", "=", "~", " ", "", "x\r"]), st.just(False)),
        ),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=60)
@given(frames=FRAMES, segment=st.integers(1, 400))
def test_every_frame_comes_back_byte_for_byte(tmp_path_factory, frames, segment):
    folder = tmp_path_factory.mktemp("frames")
    kept = recorder(folder, segment=segment)
    for ts_recv, (frame, binary) in frames:
        kept.write(ts_recv, frame, binary=binary)
    kept.close()
    read = [f for path in sorted(folder.rglob("*.gz")) for f in read_frames(find_sources([str(path)])[0])]
    assert read == [
        RecordedFrame(ts, frame if isinstance(frame, bytes) else frame.encode("utf-8", "surrogatepass"), binary)
        for ts, (frame, binary) in frames
    ]
    assert kept.frames == len(frames)


def test_a_recording_is_rotated_and_bounded(tmp_path):
    kept = recorder(tmp_path, segment=2_000, limit=10_000)
    other = tmp_path / "frames" / "s" / "earlier.rec.gz"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"not ours")
    noise = os.urandom(400_000).hex()
    for n in range(400):
        kept.write(T0 + n * NS_PER_S, noise[n * 1000 : n * 1000 + 1000])
    kept.close()
    files = sorted(path for path in other.parent.iterdir() if path != other)
    assert 2 < len(files) < 10
    assert sum(path.stat().st_size for path in files) <= 10_000 + 4_000
    assert kept.deleted_files > 90
    assert other.exists()
    newest = list(read_frames(find_sources([str(files[-1])])[0]))
    assert newest[-1].ts_recv == T0 + 399 * NS_PER_S, "the newest frames are kept"


def test_a_killed_process_loses_at_most_a_second(tmp_path):
    kept = recorder(tmp_path)
    for n in range(50):
        kept.write(T0 + n * NS_PER_S, TRADES["binance"])
    [path] = tmp_path.rglob("*.gz")
    run, feed = replay(path)
    with pytest.raises(FeedParseError, match="truncated"):
        for batch in feed.batches(threading.Event()):
            run.take(batch)
    assert len(run.ticks) >= 49


def test_a_full_disk_ends_only_the_recording(tmp_path):
    class Full:
        def open(self, name, flags):
            return os.open("/dev/full", os.O_WRONLY)

        def resolve(self, name):
            return tmp_path / name

    with LocalVenue(islice(binance_trades(), 5_000)) as venue:
        run = LiveRun(binance(venue.url), store=Full(), record_frames=True).until_ticks(5_000)
    assert run.stats.recording_failed
    [entry] = run.log.of("frame recording ended: the disk failed")
    assert "No space left" in entry["error"]


def test_recording_needs_somewhere_to_write():
    with pytest.raises(ConfigError, match="record_frames"):
        LiveRun(binance("wss://venue.example/"), record_frames=True)


def test_a_damaged_line_is_rejected(tmp_path):
    """The other lines are read."""
    path = tmp_path / "x.rec"
    good = f"{T0} {TRADES['binance']}\n".encode()
    path.write_bytes(good + b"garbage\n" + b"%d~!!!\n" % T0 + good[:-1])
    run = play(path)
    assert len(run.ticks) == 2
    assert run.rejected == {"bad_recording": 2}


def test_receive_times_in_a_separate_file_are_used(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write((TRADES["binance"] + "\n") * 3)
    (tmp_path / "x.recv.txt").write_text("1700000000.1234567\n1700000000200000000\nnever\n")
    run = play(path)
    assert [tick.ts_recv for tick in run.ticks] == [1_700_000_000_123_456_700, 1_700_000_000_200_000_000]
    assert run.rejected == {"bad_receive_time": 1}


def test_too_few_receive_times_are_a_parse_error(tmp_path):
    """The frames before it are read."""
    (tmp_path / "x.jsonl").write_text((TRADES["binance"] + "\n") * 3)
    (tmp_path / "x.recv.txt").write_text("1700000000.5\n")
    run, feed = replay(tmp_path / "x.jsonl")
    with pytest.raises(FeedParseError, match="before frame 2"):
        for batch in feed.batches(threading.Event()):
            run.take(batch)
    assert len(run.ticks) == 1


def test_a_file_of_nothing_but_garbage_is_a_parse_error(tmp_path):
    (tmp_path / "x.jsonl").write_text("{\n" * 5)
    run, feed = replay(tmp_path / "x.jsonl")
    with pytest.raises(FeedParseError, match="all 5 frames were bad"):
        for batch in feed.batches(threading.Event()):
            run.take(batch)
    assert run.rejected == {"bad_json": 5}


def test_one_damaged_file_does_not_hide_the_others(tmp_path):
    whole = gzip.compress(b"".join(f"{T0 + n} {TRADES['binance']}\n".encode() for n in range(5000)))
    (tmp_path / "a.rec.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.rec").write_text(f"{T0 + 10_000} {TRADES['binance']}\n")
    for order in ("time", "listed"):
        run, feed = replay([tmp_path / "a.rec.gz", tmp_path / "b.rec"], order=order)
        with pytest.raises(FeedParseError, match=r"a\.rec\.gz"):
            for batch in feed.batches(threading.Event()):
                run.take(batch)
        assert run.ticks[-1].ts_recv == T0 + 10_000
        assert len(run.ticks) > 1_000


def test_missing_files_are_named():
    with pytest.raises(ConfigError, match=r"nowhere\.rec"):
        play(Path("/nowhere/nowhere.rec"))


def test_several_recordings_are_merged_by_receive_time(tmp_path):
    for name, first in (("a.rec", 1), ("b.rec", 2)):
        lines = [
            f"{T0 + n} {TRADES['binance'].replace('901', str(n)).replace('ETH', name[0].upper())}"
            for n in range(first, 40, 2)
        ]
        (tmp_path / name).write_text("\n".join(lines))
    assert play([tmp_path / "a.rec", tmp_path / "b.rec"]).ids == list(range(1, 40))
    listed = play([tmp_path / "a.rec", tmp_path / "b.rec"], order="listed").ids
    assert listed == [*range(1, 40, 2), *range(2, 40, 2)]


def test_a_limit_ends_the_replay_exactly(tmp_path):
    (tmp_path / "x.rec").write_text("".join(f"{T0 + n} {TRADES['binance']}\n" for n in range(20)))
    run = play(tmp_path / "x.rec", limit=7)
    assert len(run.ticks) == run.received == 7


class Paced:
    """A `Stopper` whose waits advance the clock."""

    def __init__(self, clock: TestClock) -> None:
        self.clock = clock

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.advance(timeout or 0)
        return False


@pytest.mark.parametrize(("speed", "seconds"), [(1, 10.0), (4, 2.5), ("max", 0.0)])
def test_a_recording_is_replayed_at_a_factor_of_real_time(tmp_path, speed, seconds):
    (tmp_path / "x.rec").write_text("".join(f"{T0 + n * NS_PER_S} {TRADES['binance']}\n" for n in range(11)))
    clock = TestClock()
    run, feed = replay(tmp_path / "x.rec", clock=clock, speed=speed)
    for batch in feed.batches(Paced(clock)):
        run.take(batch)
        if speed != "max":
            passed = clock.monotonic_ns() / NS_PER_S
            assert all((tick.ts_recv - T0) / NS_PER_S <= passed * speed + 1e-6 for tick in batch.ticks.ticks())
    assert len(run.ticks) == 11
    assert clock.monotonic_ns() / NS_PER_S == pytest.approx(seconds, abs=0.01)


def test_a_recording_can_be_played_by_a_local_venue(tmp_path):
    kept = recorder(tmp_path)
    kept.write(T0, TRADES["binance"])
    kept.write(T0, b"\x00", binary=True)
    kept.close()
    [path] = tmp_path.rglob("*.gz")
    assert list(recorded_frames(path)) == [TRADES["binance"]]


@pytest.mark.scenario("S3", "S8")
def test_real_frames_survive_connection_faults(recorded_data):
    """Recorded frames of a real venue, with drops, repeats and garbage: every trade arrives exactly once."""
    path = recorded_data / "frames" / "binance_spot_trade_btcusdt_20240808.jsonl"
    script = [[Send(3000), Drop()], [Repeat(100), Send(3000), Garbage(), Drop()], [Repeat(300), Send()]]
    with LocalVenue(recorded_frames(path), script) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(9757 + 400)
    assert len(run.unique_ids) == len(set(run.unique_ids)) == 9757
    assert not run.gaps
    assert sum(run.rejected.values()) == 11
