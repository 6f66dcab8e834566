"""Who is too silent, and when the next worker starts."""

from rs3gwd.daemon.liveness import (
    DELAY_SECONDS_MAX,
    LOOK_SECONDS,
    START_SECONDS_MAX,
    YOUNG_SECONDS,
    BackOff,
    Silence,
)


def looks_until_given_up(silence: Silence, seconds: float = LOOK_SECONDS) -> int:
    """How many looks it takes."""
    looks = 1
    while not silence.is_too_long(seconds):
        looks += 1
        assert looks < 10_000
    return looks


def test_a_worker_is_given_up_after_its_patience() -> None:
    """Not before, and each word begins the time anew."""
    silence = Silence(10)
    silence.ready()
    assert not any(silence.is_too_long(0.5) for _ in range(20))
    silence.heard()
    assert looks_until_given_up(silence) == 21


def test_time_in_which_the_core_did_not_look_counts_little() -> None:
    """After hours of a stopped core it takes as many looks as there are seconds of patience."""
    silence = Silence(10)
    silence.ready()
    assert looks_until_given_up(silence, 7200.0) == 21


def test_a_starting_worker_has_a_longer_time_and_words_do_not_prolong_it() -> None:
    """It must become ready, not only talk."""
    silence = Silence(2)
    looks = 0
    while not silence.is_too_long(LOOK_SECONDS):
        silence.heard()
        looks += 1
    assert looks == START_SECONDS_MAX / LOOK_SECONDS


def test_the_first_replacement_comes_at_once_and_further_ones_ever_later() -> None:
    """With each worker that dies young the wait doubles, up to a bound, for ever."""
    back_off = BackOff()
    delays = [back_off.delay_after(1.0) for _ in range(100)]
    assert delays[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert set(delays[8:]) == {DELAY_SECONDS_MAX}
    assert back_off.failures == 100


def test_one_that_lived_long_ends_the_series() -> None:
    """Its replacement comes at once."""
    back_off = BackOff()
    for _ in range(5):
        back_off.delay_after(0.1)
    assert back_off.delay_after(YOUNG_SECONDS) == 0.0
    assert back_off.failures == 0
    assert back_off.delay_after(0.1) == 0.0
