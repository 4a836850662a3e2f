import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trilemma.diffusion import unet
from trilemma.diffusion.unet import GroupNormalization, SinusoidalEmbedding, attention_block, build_unet, residual_block


def randomised(network, random):
    """Replaces all weights: the zero-initialised ones would hide what the network computes."""
    network.set_weights([0.2 * random.standard_normal(weight.shape) for weight in network.get_weights()])
    return network


def test_embedding_is_a_table_of_sines_and_cosines():
    embedded = np.asarray(SinusoidalEmbedding(8)(np.array([0, 1, 150])))
    for row, timestep in zip(embedded, (0, 1, 150), strict=True):
        angles = [timestep / 10_000 ** (i / 3) for i in range(4)]
        np.testing.assert_allclose(row, [*np.sin(angles), *np.cos(angles)], atol=1e-5)


def test_embedding_tells_all_timesteps_apart_in_half_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    embedded = np.asarray(SinusoidalEmbedding(16)(np.arange(1000)))
    assert embedded.dtype == np.float32
    assert len(np.unique(embedded, axis=0)) == 1000


@pytest.mark.parametrize("size", [2, 7])
def test_embedding_refuses_odd_or_tiny_sizes(size):
    with pytest.raises(ValueError, match="size"):
        SinusoidalEmbedding(size)


@pytest.mark.parametrize("affine", [True, False])
def test_group_normalisation_is_that_of_keras_with_its_gradients(affine, random):
    ours, keras_layer = (
        each(4, center=affine, scale=affine) for each in (GroupNormalization, layers.GroupNormalization)
    )
    features = tf.constant(3 + 2 * random.standard_normal((3, 5, 7, 12)), "float32")
    direction = tf.constant(random.standard_normal(features.shape), "float32")
    results = []
    for layer in (ours, keras_layer):
        layer.build(features.shape)
        layer.set_weights([np.linspace(0.5, 2, 12) + i for i, _ in enumerate(layer.weights)])
        with tf.GradientTape() as tape:
            tape.watch(features)
            output = layer(features)
        results.append([output, *tape.gradient(output, [features, *layer.weights], direction)])
    assert len(results[0]) == (4 if affine else 2)
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_group_normalisation_of_a_constant_is_zero_and_keeps_half_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    output = GroupNormalization(2)(np.full((1, 3, 3, 4), 100.3, "float32"))
    assert output.dtype == "bfloat16"
    np.testing.assert_allclose(np.asarray(output, "float32"), 0, atol=0.01)


def test_group_normalisation_of_large_constants_is_finite():
    # The mean square may come out smaller than the squared mean, by more than epsilon.
    constants = np.linspace(1e2, 1e4, 200, dtype="float32")[:, None, None, None] * np.ones((1, 7, 7, 4), "float32")
    assert np.all(np.isfinite(GroupNormalization(2)(constants)))


@pytest.mark.parametrize("image_shape, widths, patch_size", [((8, 8, 1), (8, 16), 2), ((12, 8, 3), (8,), 4)])
def test_output_has_the_shape_of_the_images(image_shape, widths, patch_size, random):
    network = build_unet(image_shape, widths, patch_size=patch_size)
    images = random.standard_normal((2, *image_shape)).astype("float32")
    assert network([images, np.array([1, 5])]).shape == images.shape


def test_untrained_network_predicts_no_noise(random):
    network = build_unet((8, 8, 1), (8, 16))
    images = random.standard_normal((2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(network([images, np.array([1, 5])]), np.zeros_like(images))


def test_output_depends_on_image_and_timestep_of_the_same_row_only(random):
    network = randomised(build_unet((8, 8, 1), (8, 16)), random)
    images = random.standard_normal((2, 8, 8, 1)).astype("float32")
    output = np.asarray(network([images, np.array([3, 7])]))
    other_timestep = np.asarray(network([images, np.array([3, 8])]))
    other_image = np.asarray(network([images * [[[[1]]], [[[2]]]], np.array([3, 7])]))
    for changed in (other_timestep, other_image):
        np.testing.assert_allclose(changed[0], output[0], atol=1e-4)
        assert np.abs(changed[1] - output[1]).max() > 1e-3


def build_with(monkeypatch, chosen, path, **settings):
    """A U-Net whose residual block `chosen` alone gets its time, or its style, the others zeros; and their number."""
    count, original = 0, unet.residual_block

    def residual_block(x, time, width, style=None):
        nonlocal count
        if count != chosen:
            time, style = (time * 0, style) if path == "time" else (time, style * 0)
        count += 1
        return original(x, time, width, style)

    monkeypatch.setattr(unet, "residual_block", residual_block)
    # Groups of one channel, as of 8 in all, would take the added time out again.
    return build_unet((8, 8, 1), (16, 24), **settings), count


@pytest.mark.parametrize("block", range(6), ids=["down 1", "down 2", "middle 1", "middle 2", "up 2", "up 1"])
def test_every_residual_block_depends_on_the_timestep_and_the_destination(block, monkeypatch, random):
    network, count = build_with(monkeypatch, block, "time", with_destinations=True)
    assert count == 6
    randomised(network, random)
    images = random.standard_normal((1, 8, 8, 1)).astype("float32")
    outputs = [np.asarray(network([images, np.array([t]), np.array([s])])) for t, s in [(3, 1), (9, 1), (3, 0)]]
    assert np.abs(outputs[1] - outputs[0]).max() > 1e-3
    assert np.abs(outputs[2] - outputs[0]).max() > 1e-3


def test_output_depends_on_the_label_and_none_is_one_of_them(random):
    network = randomised(build_unet((8, 8, 1), (16, 24), num_classes=3), random)
    images = np.repeat(random.standard_normal((1, 8, 8, 1)).astype("float32"), 4, axis=0)
    outputs = np.asarray(network([images, np.full(4, 5), np.arange(4)]))
    for i in range(4):
        for j in range(i):
            assert np.abs(outputs[i] - outputs[j]).max() > 1e-3


@pytest.mark.parametrize("block", range(6), ids=["down 1", "down 2", "middle 1", "middle 2", "up 2", "up 1"])
def test_every_residual_block_depends_on_the_latents(block, monkeypatch, random):
    network = randomised(build_with(monkeypatch, block, "style", latent_size=3)[0], random)
    images, latents = random.standard_normal((1, 8, 8, 1)).astype("float32"), random.standard_normal((2, 1, 3))
    first, second = (np.asarray(network([images, np.array([3]), each])) for each in latents.astype("float32"))
    assert np.abs(first - second).max() > 1e-3


def test_output_is_float32_under_mixed_precision(random):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    network = build_unet((8, 8, 1), (8, 16))
    output = network([random.standard_normal((1, 8, 8, 1)), np.array([1])])
    assert output.dtype == "float32"
    assert all(weight.dtype == "float32" for weight in network.weights)


def test_residual_block_starts_as_the_identity(random):
    x, time = layers.Input((4, 4, 8)), layers.Input((6,))
    block = keras.Model([x, time], residual_block(x, time, 8))
    features = random.standard_normal((2, 4, 4, 8)).astype("float32")
    np.testing.assert_allclose(block([features, random.standard_normal((2, 6))]), features)


def test_attention_does_not_know_where_a_position_lies(random):
    x = layers.Input((4, 4, 8))
    block = randomised(keras.Model(x, attention_block(x)), random)
    features = random.standard_normal((1, 16, 8)).astype("float32")
    order = random.permutation(16)
    output = np.asarray(block(features.reshape(1, 4, 4, 8))).reshape(1, 16, 8)
    shuffled = np.asarray(block(features[:, order].reshape(1, 4, 4, 8))).reshape(1, 16, 8)
    np.testing.assert_allclose(shuffled, output[:, order], atol=1e-4)
    assert np.abs(output - features).max() > 0.01


def test_sides_must_fit_the_resolutions():
    with pytest.raises(ValueError, match="divisible by 4"):
        build_unet((10, 8, 1), (8, 16))


def test_network_survives_a_save(tmp_path, random):
    network = randomised(build_unet((8, 8, 1), (8, 16)), random)
    network.save(tmp_path / "unet.keras")
    inputs = [random.standard_normal((2, 8, 8, 1)).astype("float32"), np.array([1, 2])]
    loaded = keras.saving.load_model(tmp_path / "unet.keras")
    np.testing.assert_allclose(loaded(inputs), network(inputs), atol=1e-5)
