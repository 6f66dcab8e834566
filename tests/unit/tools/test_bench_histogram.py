"""The generator's histogram against a twin in Python, written from its description alone."""

import json
import math
import random
import subprocess

import pytest

from tools.rs3gw_bench.compiler import Programs

SUB_BUCKETS = 1024
VALUE_MAX = 2**42 - 1
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def bounds_of(value: int) -> tuple[int, int]:
    """Least and greatest value of the bucket that holds `value`."""
    value = min(value, VALUE_MAX)
    width = 1 << max(0, value.bit_length() - SUB_BUCKETS.bit_length())
    least = value - value % width
    return least, least + width - 1


def measure(programs: Programs, values: list[int]) -> dict[str, object]:
    done = subprocess.run(
        [programs.load, "--self-test-histogram"],
        input="\n".join(map(str, values)),
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, object] = json.loads(done.stdout)
    return result


def samples() -> list[int]:
    chance = random.Random(3)
    edges = [edge + step for bit in range(43) for edge in [1 << bit] for step in (-1, 0, 1)]
    return [*edges, *(int(math.exp(chance.uniform(0, 29))) for _ in range(20000))]


def test_every_value_falls_into_the_bucket_of_its_twin(programs: Programs) -> None:
    """The greatest value of the bucket is the twin's, at every power of two and between."""
    values = samples()
    buckets = measure(programs, values)["buckets"]
    assert isinstance(buckets, list)
    assert [upper for _, upper in buckets] == [bounds_of(value)[1] for value in values]


def test_buckets_are_in_the_order_of_values(programs: Programs) -> None:
    """A greater value never has a lesser bucket, and two buckets never share an index."""
    values = sorted(samples())
    buckets = measure(programs, values)["buckets"]
    assert isinstance(buckets, list)
    assert buckets == sorted(buckets)
    assert len({index for index, _ in buckets}) == len({upper for _, upper in buckets})


@pytest.mark.parametrize("count", [1, 2, 10, 999, 20000])
def test_quantiles_have_three_digits(programs: Programs, count: int) -> None:
    """Each lies in the bucket of the exact quantile, so within a thousandth of it."""
    values = samples()[-count:]
    latency = measure(programs, values)["latency_ns"]
    assert isinstance(latency, dict)
    ordered = sorted(values)
    for name, share in SHARES.items():
        exact = ordered[math.ceil(share * count) - 1]
        assert latency[name] == min(bounds_of(exact)[1], ordered[-1])
        assert latency[name] <= exact * (1 + 1 / SUB_BUCKETS)
    assert (latency["min"], latency["max"]) == (ordered[0], ordered[-1])
    assert latency["count"] == count
    assert latency["mean"] == pytest.approx(sum(values) / count, abs=0.51)


def test_of_nothing_everything_is_zero(programs: Programs) -> None:
    """An empty histogram has zeros for all figures."""
    latency = measure(programs, [])["latency_ns"]
    assert isinstance(latency, dict)
    assert set(latency.values()) == {0}
