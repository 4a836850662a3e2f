"""The generator against its published test vectors, and its numbers against the normal distribution."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from trilemma import noise
from trilemma.noise import standard_normal, threefry

MANY = 200_000


def scrambled(key, counter):
    return [
        int(word) for word in threefry(*(keras.ops.convert_to_tensor(np.uint32(word)) for word in (*key, *counter)))
    ]


def plain_threefry(key, counter):
    """The published algorithm in integers without end."""
    keys = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = ((c + k) % 2**32 for c, k in zip(counter, key, strict=True))
    for block in range(5):
        for bits in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            x = (x + y) % 2**32
            y = x ^ (y << bits) % 2**32 ^ y >> (32 - bits)
        x, y = (x + keys[(block + 1) % 3]) % 2**32, (y + keys[(block + 2) % 3] + block + 1) % 2**32
    return x, y


def drawn(seed=0, indices=(0,), draw=0, shape=(MANY,)):
    return np.asarray(standard_normal(seed, np.array(indices), draw, shape))


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_vectors_published_with_random123(key, counter, expected):
    assert scrambled(key, counter) == list(expected)


def test_threefry_is_that_of_jax(random):
    jax_random = pytest.importorskip("jax.extend.random")
    key, counters = random.integers(0, 2**32, 2, "uint32"), random.integers(0, 2**32, (2, 1000), "uint32")
    # JAX takes the first words of all counters, then the second words.
    expected = np.asarray(jax_random.threefry_2x32(tuple(key), counters.ravel())).reshape(2, 1000)
    np.testing.assert_array_equal(np.stack(threefry(key[0], key[1], *map(tf.constant, counters))), expected)


@pytest.mark.parametrize(("num_images", "size"), [(1, 1), (1, 6), (2, 4), (3, 6), (4, 4), (5, 9), (16, 32)])
def test_numbers_are_those_of_plain_python_whatever_the_shapes(num_images, size):
    """Keras takes some shapes for those of a bias, above all as many images as pairs of numbers."""
    pairs = -(-size // 2)
    words = np.array([[plain_threefry((11, i), (j, 3)) for j in range(pairs)] for i in range(num_images)])
    radius = np.sqrt(-2 * np.log((words[..., 0] // 2**8 + 1) / 2**24))
    angle = 2 * np.pi * (words[..., 1] // 2**8) / 2**24
    expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :size]
    np.testing.assert_allclose(drawn(11, np.arange(num_images), 3, (size,)), expected, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_numbers_are_standard_normal(seed):
    numbers = drawn(seed)[0]
    assert numbers.dtype == np.float32
    assert np.all(np.isfinite(numbers))
    moments = [np.mean(numbers.astype(float) ** power) for power in (1, 2, 3, 4)]
    errors = np.sqrt(np.array([1, 2, 15, 96]) / MANY)  # standard errors of the moments 0, 1, 0, 3
    assert np.all(np.abs(np.subtract(moments, [0, 1, 0, 3])) < 4 * errors)
    assert stats.kstest(numbers, "norm").pvalue > 0.01


def test_numbers_are_standard_normal_over_images_and_over_draws():
    over_images = drawn(5, np.arange(MANY // 4), shape=(1,))[:, 0]
    over_draws = np.concatenate([drawn(5, np.arange(200), draw, (5,)).ravel() for draw in range(50)])
    for numbers in (over_images, over_draws):
        assert stats.kstest(numbers, "norm").pvalue > 0.01


def test_tails_are_as_long_as_they_should_be():
    numbers = np.abs(drawn(3, np.arange(10)).ravel())
    for limit in (2, 3, 4):
        expected = 2 * stats.norm.sf(limit) * numbers.size
        assert np.sum(numbers > limit) == pytest.approx(expected, abs=4 * np.sqrt(expected))


@pytest.mark.parametrize(("word", "radius"), [(0, np.sqrt(48 * np.log(2))), (2**32 - 1, 0)])
def test_the_rarest_words_give_the_longest_number_and_zero(monkeypatch, word, radius):
    """The radius is uniform on (0, 1] before its logarithm: one word in 2^24 must not make it infinite."""
    monkeypatch.setattr(noise, "threefry", lambda *_: [np.full((1, 1), each, "uint32") for each in (word, 0)])
    np.testing.assert_allclose(drawn(shape=(2,))[0], [radius, 0], atol=1e-6)


def test_images_draws_and_seeds_are_independent():
    rows = np.concatenate(
        [drawn(0, np.arange(4)), drawn(0, [0], draw=1), drawn(0, [0], draw=2), drawn(1), drawn(2), drawn(0, [2**31])]
    )
    correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(MANY)
    squares = np.corrcoef(rows**2)[np.triu_indices(len(rows), 1)]
    assert np.abs(squares).max() < 5 / np.sqrt(MANY)


def test_numbers_of_one_image_are_independent_of_each_other():
    numbers = drawn(4)[0]
    for distance in (1, 2, 28, MANY // 2):
        pairs = numbers[: MANY - distance], numbers[distance:]
        assert abs(np.corrcoef(*pairs)[0, 1]) < 5 / np.sqrt(MANY - distance)
        assert abs(np.corrcoef(*np.square(pairs))[0, 1]) < 5 / np.sqrt(MANY - distance)


def test_seeds_images_and_draws_do_not_stand_for_each_other():
    combinations = [(a, b, c) for a in range(4) for b in range(4) for c in range(4)]
    rows = {drawn(seed, [index], draw, (6,)).tobytes() for seed, index, draw in combinations}
    assert len(rows) == len(combinations)


def test_number_of_an_image_depends_on_no_other_image(random):
    together = drawn(7, [3, 0, 9, 3], 2, (4, 5, 3))
    assert together.shape == (4, 4, 5, 3)
    for row, index in zip(together, (3, 0, 9, 3), strict=True):
        np.testing.assert_allclose(row, drawn(7, [index], 2, (4, 5, 3))[0], atol=1e-6)


@pytest.mark.parametrize("shape", [(1,), (3,), (3, 3, 1), (4, 2)])
def test_odd_and_even_sizes_have_their_shape_and_no_number_twice(shape):
    numbers = drawn(0, np.arange(50), shape=shape)
    assert numbers.shape == (50, *shape)
    assert len(np.unique(numbers)) == numbers.size


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_numbers_are_those_of_single_operations(jit_compile):
    def draw(seed, indices, number):
        return standard_normal(seed, indices, number, (9, 9, 1))

    arguments = tf.constant(2**32 - 1, "uint32"), tf.constant([0, 5, 2**32 - 1], "uint32"), tf.constant(3, "int32")
    compiled = tf.function(draw, jit_compile=jit_compile)(*arguments)
    np.testing.assert_allclose(compiled, draw(*arguments), atol=1e-6)


def test_frozen_numbers():
    """A saved seed must draw the same images after every change of the package."""
    numbers = drawn(2026, [7], 1, (4,))[0]
    np.testing.assert_allclose(numbers, [0.40787825, -0.25101554, -1.59412026, -1.89919615], atol=1e-6)


def test_uniform_numbers_are_the_cumulative_distribution(random):
    numbers = np.append(random.standard_normal(1000), [-9.0, -6.0, 0.0, 6.0, 9.0]).astype("float32")
    uniform = np.asarray(noise.uniform_of(numbers))
    np.testing.assert_allclose(uniform, stats.norm.cdf(numbers.astype("float64")), atol=2e-7)
    assert uniform.dtype == "float32"
    assert 0 <= uniform.min() < uniform.max() < 1
    assert stats.kstest(np.asarray(noise.uniform_of(drawn()))[0], "uniform").pvalue > 0.01
