import itertools

import keras
import numpy as np
import pytest
from keras import ops

from trilemma import backend, noise
from trilemma.models.pixelcnn import (
    PixelCNN,
    build_pixelcnn,
    draw_pixels,
    sample_by_caches,
    sample_by_fixed_point,
    sample_by_full_passes,
)

RICHER = dict(embedding_size=3, head_width=9, vertical_residual=True)


def randomise(network, scale=0.5):
    """Weights that make every logit depend on every pixel before it, strongly."""
    random = np.random.default_rng(0)
    network.set_weights([scale * random.standard_normal(weight.shape) for weight in network.weights])


def tiny_pixelcnn(image_shape=(3, 3, 1), scale=1.0, **settings):
    model = PixelCNN(
        **{"image_shape": image_shape, "levels": 2, "width": 6, "dilations": (1, 2), "seed": 0, **settings}
    )
    randomise(model.network, scale)
    model.ema_network.set_weights(model.network.get_weights())
    return model


def all_images(image_shape, levels):
    pixels = itertools.product(range(levels), repeat=image_shape[0] * image_shape[1])
    return np.array(list(pixels), "float32").reshape(-1, *image_shape) / (levels - 1)


def softmax(logits):
    powers = np.exp(np.asarray(logits, "float64") - np.max(logits, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


SOME_PIXELS = [(0, 0), (0, 1), (0, 27), (1, 0), (9, 14), (13, 0), (14, 27), (20, 3), (27, 0), (27, 13), (27, 27)]


@pytest.mark.parametrize(
    ("image_shape", "settings", "pixels"),
    [
        ((28, 28, 1), {}, SOME_PIXELS),
        ((8, 8, 1), {"dilations": (1, 2, 4)}, list(itertools.product(range(8), range(8)))),
        ((8, 8, 1), {"dilations": (1, 2, 4), **RICHER}, list(itertools.product(range(8), range(8)))),
        ((4, 9, 1), {"dilations": (4, 2, 1, 1)}, list(itertools.product(range(4), range(9)))),
    ],
    ids=["28x28", "8x8", "richer", "4x9"],
)
def test_logits_of_a_pixel_depend_on_exactly_the_pixels_before_it(image_shape, settings, pixels, random):
    network = build_pixelcnn(image_shape, levels=3, width=4, **settings)
    randomise(network)
    height, width, _ = image_shape
    chosen = np.zeros((len(pixels), height, width, 1), "float32")
    for number, (row, column) in enumerate(pixels):
        chosen[number, row, column] = 1
    images = ops.convert_to_tensor(random.uniform(-1, 1, (len(pixels), *image_shape)).astype("float32"))
    slopes = np.array([1.0, -2.0, 0.5], "float32")  # The sum of all logits could stay where each moves.
    gradients = np.asarray(backend.input_gradients(lambda x: chosen * slopes * network(x), images))[..., 0]
    numbers = np.arange(height * width).reshape(height, width)
    for gradient, (row, column) in zip(gradients, pixels, strict=True):
        np.testing.assert_array_equal(gradient != 0, numbers < numbers[row, column], err_msg=f"{row}, {column}")


@pytest.mark.parametrize(
    ("image_shape", "levels", "settings"),
    [((3, 3, 1), 2, {}), ((2, 2, 1), 5, {}), ((2, 3, 1), 3, {}), ((3, 3, 1), 2, RICHER), ((2, 2, 1), 5, RICHER)],
)
def test_probabilities_of_all_images_sum_to_1(image_shape, levels, settings):
    model = tiny_pixelcnn(image_shape, levels=levels, **settings)
    log_likelihoods = model.log_likelihood(all_images(image_shape, levels))
    assert len(log_likelihoods) == levels ** (image_shape[0] * image_shape[1])
    assert log_likelihoods.std() > 1  # Equal probabilities would sum to 1 whatever the order of the pixels.
    assert np.exp(log_likelihoods.astype("float64")).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("levels", "settings"), [(2, {}), (5, {}), (5, RICHER)])
def test_log_likelihood_is_the_sum_over_pixels_each_given_those_before_it(levels, settings, random):
    model, images = tiny_pixelcnn((3, 4, 1), levels=levels, **settings), random.integers(0, levels, (6, 3, 4, 1))
    expected = np.zeros(6)
    for row, column in itertools.product(range(3), range(4)):
        given = random.random((6, 3, 4, 1), "float32")  # Whatever stands there, later pixels must not count.
        before = np.arange(12).reshape(1, 3, 4, 1) < 4 * row + column
        logits = model(np.where(before, images / (levels - 1), given).astype("float32"))
        expected += np.log(softmax(logits)[np.arange(6), row, column, images[:, row, column, 0]])
    found = model.log_likelihood((images / (levels - 1)).astype("float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("image_shape", "levels"), [((2, 2, 1), 2), ((1, 3, 1), 3), ((3, 1, 1), 3)])
def test_images_are_drawn_as_often_as_they_are_likely(image_shape, levels):
    model, images = tiny_pixelcnn(image_shape, 0.5, levels=levels), all_images(image_shape, levels)
    expected = 4000 * np.exp(model.log_likelihood(images))
    numbers = levels ** np.arange(images[0].size)[::-1]  # The number of an image in the list of all.
    drawn = np.round(model.generate(4000, seed=0, batch_size=1000).reshape(4000, -1) * (levels - 1)) @ numbers
    counts = np.bincount(drawn.astype(int), minlength=len(images))
    # Chi-square: its mean is the number of images less one, its variance twice that. Rare images count as one.
    often = expected > 5
    counts, expected = (np.append(each[often], each[~often].sum() + 1e-9) for each in (counts, expected))
    freedom = len(counts) - 1
    assert freedom >= 8
    assert np.sum((counts - expected) ** 2 / expected) < freedom + 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize(
    ("image_shape", "levels", "dilations", "settings"),
    [
        ((6, 5, 1), 2, (1, 2), {}),
        ((4, 7, 1), 5, (3, 1, 2), {}),
        ((5, 5, 1), 256, (1,), {}),
        ((4, 7, 1), 5, (3, 1, 2), {"scale": 0.5, **RICHER}),
    ],
)
def test_all_ways_of_sampling_draw_the_same_pixels(image_shape, levels, dilations, settings, jit_compile):
    model = tiny_pixelcnn(image_shape, levels=levels, dilations=dilations, **settings)
    uniform = noise.uniform_of(noise.standard_normal(3, np.arange(20), 0, image_shape))

    def compiled(function):
        return backend.compile_function(function, model.variables, jit_compile)(uniform)

    plain = np.asarray(compiled(lambda uniform: sample_by_full_passes(model, uniform)))
    cached = np.asarray(compiled(lambda uniform: sample_by_caches(model.ema_network, uniform)))
    iterated, num_passes = compiled(lambda uniform: sample_by_fixed_point(model, uniform))
    np.testing.assert_array_equal(cached, plain)
    np.testing.assert_array_equal(iterated, plain)
    np.testing.assert_allclose(draw_pixels(model(plain), uniform), plain, atol=1e-6)
    assert 3 < int(num_passes) <= image_shape[0] * image_shape[1]
    np.testing.assert_allclose(plain * (levels - 1), np.round(plain * (levels - 1)), atol=1e-4)
    assert 0 <= plain.min() < 0.05 < 0.95 < plain.max() <= 1
    np.testing.assert_array_equal(model.generate(20, seed=3), plain)
    few = np.asarray(compiled(lambda uniform: sample_by_full_passes(model, uniform, 7)))
    np.testing.assert_array_equal(few.reshape(20, -1), np.where(np.arange(plain[0].size) < 7, plain.reshape(20, -1), 0))


def test_pixels_are_the_inverse_of_the_cumulative_distribution(random):
    logits = 2 * random.standard_normal((500, 7)).astype("float32")
    uniform = random.random((500, 1), "float32")
    expected = [np.searchsorted(np.cumsum(p)[:-1], u[0]) for p, u in zip(softmax(logits), uniform, strict=True)]
    np.testing.assert_allclose(6 * np.asarray(draw_pixels(logits, uniform))[:, 0], expected, rtol=1e-6)
    ends = np.array([[0.0], [1 - 2.0**-24]], "float32")
    np.testing.assert_array_equal(draw_pixels(np.zeros((2, 256), "float32"), ends), [[0], [1]])


def test_grey_values_of_8_bits_are_their_own_levels():
    model, values = tiny_pixelcnn((16, 16, 1), levels=256), np.arange(256, dtype="float32").reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(model.quantise(values / np.float32(255), None), values)
    coarse = tiny_pixelcnn((16, 16, 1), levels=4).quantise(values / 255, None)
    np.testing.assert_array_equal(coarse, np.round(values / 85))


def test_binary_images_are_drawn_anew_for_every_batch():
    model, images = tiny_pixelcnn((8, 8, 1)), np.full((4, 8, 8, 1), 0.5, "float32")
    seen, network = [], model.network
    model.network = lambda x, training: seen.append(np.asarray(x)) or network(x)
    for _ in range(2):
        model.compute_losses(images, None, training=True)
    assert set(np.unique(seen)) == {-1.0, 1.0}
    assert not np.array_equal(*seen)
    assert np.mean(seen) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("levels", [2, 16])
def test_loss_is_the_negative_log_likelihood_in_nats_per_image(levels, random):
    model = tiny_pixelcnn((4, 4, 1), levels=levels)
    images = (random.integers(0, levels, (5, 4, 4, 1)) / (levels - 1)).astype("float32")
    loss = float(model.compute_losses(images, None, training=False)["loss"])
    assert loss == pytest.approx(-model.log_likelihood(images).mean(), rel=1e-5)


def test_training_uses_the_network_all_else_its_average(random):
    model, images, calls = tiny_pixelcnn(), random.random((2, 3, 3, 1), "float32"), []
    for name in ("network", "ema_network"):
        network = getattr(model, name)
        setattr(model, name, lambda x, training, name=name, network=network: calls.append(name) or network(x))
    for training in (True, False):
        model.compute_losses(images, None, training=training)
    model(images)
    model.log_likelihood(images)
    assert calls == ["network"] + 3 * ["ema_network"]
    model = tiny_pixelcnn()
    drawn = model.generate(20, seed=0)
    model.network.set_weights([0 * weight for weight in model.network.get_weights()])
    np.testing.assert_array_equal(model.generate(20, seed=0), drawn)
    model.ema_network.set_weights(model.network.get_weights())
    assert not np.array_equal(model.generate(20, seed=0), drawn)


def test_every_pixel_is_a_pass():
    assert tiny_pixelcnn((3, 5, 1)).passes_per_image == 15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_shape": (3, 3, 3)}, "images have 3 channels; a PixelCNN draws one"),
        ({"levels": 1}, r"levels is 1; expected a whole number in 2 \.\.\. 256"),
        ({"levels": 257}, r"levels is 257; expected a whole number in 2 \.\.\. 256"),
        ({"width": 0}, "width is 0"),
        ({"embedding_size": 0}, "embedding_size is 0"),
        ({"head_width": 0.5}, "head_width is 0.5"),
        ({"dilations": ()}, "dilations are empty; expected one for each layer"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny_pixelcnn(**settings)


@pytest.mark.slow
def test_learns_a_distribution_whose_entropy_is_known(random):
    """Stripes: the first row is drawn, the others repeat it. So an image holds 4 bits, 4 log 2 nats."""
    images = np.repeat(random.integers(0, 2, (512, 1, 4, 1)), 4, axis=1).astype("float32")
    model = PixelCNN((4, 4, 1), levels=2, width=16, dilations=(1, 2), ema_decay=0.9, seed=0)
    model.compile(model.default_optimizers(1e-2, 320))
    model.fit(images, batch_size=64, epochs=40, verbose=0)
    assert -model.log_likelihood(images).mean() == pytest.approx(4 * np.log(2), abs=0.1)
    drawn = model.generate(200, seed=0)
    assert np.mean(drawn == drawn[:, :1]) > 0.99
    assert drawn.mean() == pytest.approx(0.5, abs=0.1)


def test_gradient_steps_lower_the_loss(random):
    keras.utils.set_random_seed(0)
    model = PixelCNN((4, 4, 1), levels=8, width=8, dilations=(1, 2), seed=0)
    model.compile(keras.optimizers.Adam(1e-2))
    losses = model.fit(np.full((32, 4, 4, 1), 200, "uint8"), batch_size=8, epochs=8, verbose=0).history["loss"]
    assert losses[0] < 1.5 * 16 * np.log(8)
    assert losses[-1] < 0.3 * losses[0]
