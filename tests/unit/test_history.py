"""The last hour: what was seen is drawn, and nothing else."""

from msgspec.structs import replace

from tests.snapshots import DATABASE, STREAMS
from worker.domain.database_state import DatabaseState, TablesState, Took
from worker.ops.history import STEP_S, STEPS, History, Moment
from worker.ops.pages.charts import HEIGHT, WIDTH, charts


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def took(median_ms: float, p95_ms: float) -> DatabaseState:
    tables = TablesState("17.4", "", 1, 1, True, (), Took(median_ms, p95_ms))
    return replace(DATABASE, tables=tables)


def seen(published: list[int], clock: Clock, *, every_s: float) -> History:
    history = History(clock=clock)
    for number in published:
        history.note_streams(replace(STREAMS, published=number))
        clock.now += every_s
    return history


def test_results_of_half_a_minute_are_what_came_since_the_look_before() -> None:
    clock = Clock()
    clock.now -= clock.now % STEP_S

    history = seen([100, 130, 190], clock, every_s=1)

    assert history.moments()[-1] == Moment(int(clock.now // STEP_S), 90, 0)


def test_first_look_tells_nothing_of_what_came_before_it() -> None:
    history = seen([100], Clock(), every_s=0)

    last = history.moments()[-1]

    assert last is not None
    assert last.published is None


def test_results_that_were_lost_are_no_negative_throughput() -> None:
    history = seen([100, 40, 45], Clock(), every_s=0)

    last = history.moments()[-1]

    assert last is not None
    assert last.published == 5


def test_lag_that_no_server_tells_is_not_known() -> None:
    history = History()
    history.note_streams(replace(STREAMS, lag=None))

    last = history.moments()[-1]

    assert last is not None
    assert last.lag is None


def test_worst_of_half_a_minute_is_kept() -> None:
    clock = Clock()
    history = History(clock=clock)
    for lag, median_ms in ((5, 2.0), (90, 30.0), (1, 3.0)):
        history.note_streams(replace(STREAMS, lag=lag))
        history.note_tables(took(median_ms, 2 * median_ms))

    last = history.moments()[-1]

    assert last is not None
    assert (last.lag, last.median_ms, last.p95_ms) == (90, 30.0, 60.0)


def test_time_without_a_look_is_a_gap() -> None:
    clock = Clock()
    history = seen([1, 2], clock, every_s=10 * STEP_S)

    known = [moment is not None for moment in history.moments()]

    assert sum(known) == 2
    assert len(known) == STEPS


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    clock = Clock()
    history = seen([1], clock, every_s=0)

    clock.now += STEPS * STEP_S

    assert set(history.moments()) == {None}


def test_clock_that_was_set_back_goes_on_where_it_was() -> None:
    clock = Clock()
    history = seen([1], clock, every_s=0)
    clock.now -= 3 * STEP_S

    history.note_streams(replace(STREAMS, published=5))

    clock.now += 3 * STEP_S
    last = history.moments()[-1]
    assert last is not None
    assert last.published == 4


def test_charts_say_in_words_what_they_draw() -> None:
    clock = Clock()
    clock.now -= clock.now % STEP_S
    history = seen([0, 300], clock, every_s=1)
    history.note_tables(took(12.4, 99.6))

    throughput, latency, lag = charts(history)

    assert throughput.sentence == (
        "Throughput of the last hour. results: now 10 a second, at most 10 a second."
    )
    assert latency.sentence == (
        "Latency of the last hour. median: now 12 ms, at most 12 ms; 95 of 100: now 100 ms, at most 100 ms."
    )
    assert lag.lines[0].now == "0"


def test_nothing_known_is_said_and_not_drawn() -> None:
    for chart in charts(History()):
        assert {each.now for each in chart.lines} == {"not known"}
        assert all(not each.paths for each in chart.lines)


def test_lines_stay_within_their_box_and_break_where_nothing_is_known() -> None:
    clock = Clock()
    history = History(clock=clock)
    for number in range(40):
        if number not in {10, 11, 30}:
            history.note_streams(replace(STREAMS, lag=number))
        clock.now += STEP_S

    line = charts(history)[2].lines[0]

    points = [
        tuple(map(float, point.strip("ML ").split(","))) for path in line.paths for point in path.split(" L")
    ]
    assert len(line.paths) == 3
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
