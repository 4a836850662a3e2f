import numpy as np
import pytest
from keras import ops

from trilemma.diffusion.guidance import guided

NO_LABEL = 3
IMAGES = np.arange(2 * 4 * 4, dtype="float32").reshape(2, 4, 4, 1)
TIMESTEPS = np.array([5, 7], "int32")
LABELS = np.array([2, 0], "int32")


def predict(noisy_images, timesteps, labels):
    """Depends on all three, and on the label none otherwise than on the others."""
    labels = np.asarray(labels)
    value = np.where(labels == NO_LABEL, -1.0, 10.0 + labels) * np.asarray(timesteps)
    return ops.convert_to_tensor(np.asarray(noisy_images) + value[:, None, None, None].astype("float32"))


@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guided_prediction_by_hand(guidance):
    conditional = np.array([12 * 5, 10 * 7])
    unconditional = np.array([-5, -7])
    expected = IMAGES + ((1 + guidance) * conditional - guidance * unconditional)[:, None, None, None]
    found = guided(predict, ops.convert_to_tensor(LABELS), guidance, NO_LABEL)(IMAGES, TIMESTEPS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_without_guidance_the_network_is_asked_once_with_the_labels():
    asked = []
    guided(lambda *arguments: asked.append(arguments), LABELS, None, NO_LABEL)(IMAGES, TIMESTEPS)
    assert [len(each) for each in asked[0]] == [2, 2, 2]
    np.testing.assert_array_equal(asked[0][2], LABELS)


def test_both_halves_go_through_the_network_in_one_batch():
    asked = []

    def recording(*arguments):
        asked.append([np.asarray(each) for each in arguments])
        return ops.zeros((4, 4, 4, 1))

    guided(recording, ops.convert_to_tensor(LABELS), 1.0, NO_LABEL)(IMAGES, TIMESTEPS)
    images, timesteps, labels = asked[0]
    assert len(asked) == 1
    np.testing.assert_array_equal(images, np.concatenate([IMAGES, IMAGES]))
    np.testing.assert_array_equal(timesteps, [5, 7, 5, 7])
    np.testing.assert_array_equal(labels, [2, 0, NO_LABEL, NO_LABEL])
