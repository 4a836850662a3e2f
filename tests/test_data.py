import warnings

import keras
import numpy as np
import pytest

from trilemma import data
from trilemma.data import CLASS_NAMES, load_images, make_dataset


def arrays_of(value, count=3):
    """A data set whose pixels all have one value, so that its source can be told."""
    images, labels = np.full((count, 28, 28), value, "uint8"), np.arange(count, dtype="uint8")
    return {"x_train": images, "y_train": labels, "x_test": images[:2], "y_test": labels[:2]}


def save(folder, value=51, name="mnist", **changes):
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name}.npz", **{**arrays_of(value), **changes})
    return folder


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    def fail():
        raise Exception("URL fetch failure")

    for dataset in (keras.datasets.mnist, keras.datasets.fashion_mnist):
        monkeypatch.setattr(dataset, "load_data", fail)


@pytest.mark.parametrize("split, count", [("train", 3), ("test", 2)])
def test_images_are_floats_in_the_public_range(tmp_path, split, count):
    images, labels = load_images("mnist", split, save(tmp_path, 51))
    assert (images.shape, images.dtype) == ((count, 28, 28, 1), "float32")
    np.testing.assert_allclose(images, 51 / 255)
    assert labels.dtype == "int32"
    assert labels.tolist() == list(range(count))


def test_named_folder_comes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TRILEMMA_DATA", str(save(tmp_path / "environment", 255)))
    assert load_images("mnist", data_dir=save(tmp_path / "argument", 0))[0].max() == 0
    assert load_images("mnist")[0].min() == 1


def test_environment_comes_before_the_download(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: pytest.fail("downloaded"))
    monkeypatch.setenv("TRILEMMA_DATA", str(save(tmp_path)))
    assert len(load_images("mnist")[0]) == 3


@pytest.mark.parametrize("name", CLASS_NAMES)
@pytest.mark.parametrize("split, count", [("train", 3), ("test", 2)])
def test_download_comes_before_the_sample(monkeypatch, name, split, count):
    arrays = arrays_of(255)
    downloaded = (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    monkeypatch.setattr(data._KERAS_DATASETS[name], "load_data", lambda: downloaded)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, labels = load_images(name, split)
    assert len(images) == len(labels) == count
    assert images.min() == 1


def test_stacked_digits_spell_their_label(tmp_path, random):
    images = np.repeat(np.arange(10, dtype="uint8"), 30)[:, None, None] * np.ones((1, 28, 28), "uint8")
    labels = np.repeat(np.arange(10, dtype="uint8"), 30)
    folder = save(tmp_path, x_train=images, y_train=labels)
    images, labels = load_images("stacked_mnist", "train", folder)
    assert (images.shape, images.dtype, labels.dtype) == ((300, 28, 28, 3), "float32", "int32")
    digits = np.round(images[:, 0, 0] * 255).astype(int)
    np.testing.assert_array_equal(labels, [int("".join(map(str, row))) for row in digits])
    assert len(set(labels)) > 200  # of 300 draws from 1,000 modes
    np.testing.assert_array_equal(images, load_images("stacked_mnist", "train", folder)[0])


@pytest.mark.parametrize("name", CLASS_NAMES)
@pytest.mark.parametrize("split, count", [("train", 5000), ("test", 2000)])
def test_shipped_sample_is_real_and_announced_once(name, split, count):
    with pytest.warns(UserWarning, match=f"{name} could not be downloaded.*{count} {split} images.*TRILEMMA_DATA") as w:
        images, labels = load_images(name, split)
    assert len(w) == 1
    assert w[0].filename == __file__
    assert images.shape == (count, 28, 28, 1)
    assert images.max() == 1
    assert images.mean() == pytest.approx({"mnist": 0.1307, "fashion_mnist": 0.2861}[name], abs=0.01)
    assert set(labels) == set(range(10))
    assert len(CLASS_NAMES[name]) == 10


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="'cifar'.*fashion_mnist.*mnist"):
        load_images("cifar")
    with pytest.raises(ValueError, match="'validation'.*train.*test"):
        load_images("mnist", "validation")


def test_named_folder_is_never_passed_over(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="mnist.npz does not exist.*data_dir"):
        load_images("mnist", data_dir=tmp_path)
    monkeypatch.setenv("TRILEMMA_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere.*TRILEMMA_DATA"):
        load_images("mnist")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_is_named(tmp_path, share):
    noise = np.random.default_rng(0).integers(0, 256, (3, 28, 28), "uint8")
    file = save(tmp_path, x_train=noise) / "mnist.npz"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="mnist.npz is damaged"):
        load_images("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("position", [0.3, 0.6])
def test_changed_bytes_are_noticed(tmp_path, position):
    noise = np.random.default_rng(0).integers(0, 256, (3, 28, 28), "uint8")
    file = tmp_path / "mnist.npz"
    np.savez_compressed(file, **{**arrays_of(0), "x_train": noise})
    content = bytearray(file.read_bytes())
    start = int(position * noise.size)
    content[start : start + 20] = bytes(byte ^ 255 for byte in content[start : start + 20])
    file.write_bytes(content)
    with pytest.raises(ValueError, match="mnist.npz is damaged"):
        load_images("mnist", data_dir=tmp_path)


def test_any_changed_byte_is_noticed_or_harmless(tmp_path):
    file = tmp_path / "mnist.npz"
    np.savez_compressed(file, **arrays_of(0))
    content, (images, _) = file.read_bytes(), load_images("mnist", data_dir=tmp_path)
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 255
        file.write_bytes(changed)
        try:
            np.testing.assert_array_equal(load_images("mnist", data_dir=tmp_path)[0], images)
        except ValueError as error:
            assert "mnist.npz" in str(error), position


def test_empty_folder_name_is_not_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("TRILEMMA_DATA", str(save(tmp_path)))
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(FileNotFoundError, match="mnist.npz does not exist"):
        load_images("mnist", data_dir="")


def test_wrong_keys_are_named(tmp_path):
    np.savez(tmp_path / "mnist.npz", images=np.zeros((3, 28, 28), "uint8"))
    with pytest.raises(ValueError, match="mnist.npz is damaged.*x_train"):
        load_images("mnist", data_dir=tmp_path)


def test_text_file_is_refused(tmp_path):
    (tmp_path / "mnist.npz").write_text("<html>404</html>")
    with pytest.raises(ValueError, match="mnist.npz is damaged"):
        load_images("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"x_train": np.zeros((3, 32, 32), "uint8")},
        {"x_train": np.zeros((3, 784), "uint8")},
        {"x_train": np.zeros((3, 28, 28), "float32")},
        {"y_train": np.zeros(2, "uint8")},
    ],
)
def test_arrays_of_wrong_shape_or_type_are_refused(tmp_path, changes):
    with pytest.raises(ValueError, match="expected uint8 images of shape"):
        load_images("mnist", data_dir=save(tmp_path, **changes))


def numbered(count):
    return np.arange(count, dtype="float32").reshape(-1, 1, 1, 1)


def flat(batches):
    return [int(value) for batch in batches for value in np.ravel(batch)]


@pytest.mark.parametrize("drop_remainder, sizes", [(True, [4, 4]), (False, [4, 4, 2])])
def test_last_partial_batch(drop_remainder, sizes):
    dataset = make_dataset(numbered(10), batch_size=4, drop_remainder=drop_remainder)
    assert [len(batch) for batch in dataset] == sizes
    assert len(dataset) == len(sizes)
    assert dataset.element_spec.shape[0] == (4 if drop_remainder else None)


def test_unshuffled_batches_keep_the_order():
    assert flat(make_dataset(numbered(8), batch_size=4, shuffle=False)) == list(range(8))


def test_every_epoch_is_shuffled_anew_over_all_images():
    dataset = make_dataset(numbered(100), batch_size=10, seed=0)
    first, second = flat(dataset), flat(dataset)
    assert sorted(first) == sorted(second) == list(range(100))
    assert list(range(100)) != first != second
    assert max(first[:10]) > 50


def test_seed_repeats_the_order():
    assert flat(make_dataset(numbered(50), batch_size=5, seed=3)) == flat(
        make_dataset(numbered(50), batch_size=5, seed=3)
    )


def test_repeated_dataset_does_not_end():
    dataset = make_dataset(numbered(6), batch_size=4, repeat=True, shuffle=False)
    assert flat(dataset.take(3)) == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]


def test_no_tuning_thread_holds_up_the_end_of_an_epoch():
    assert make_dataset(numbered(6), batch_size=4).options().autotune.enabled is False


def test_labels_stay_with_their_images():
    for images, labels in make_dataset(numbered(20), np.arange(20), batch_size=5):
        np.testing.assert_array_equal(np.ravel(images), labels)


def test_too_few_images_for_one_batch_are_an_error():
    with pytest.raises(ValueError, match="3 images do not fill one batch of 4"):
        make_dataset(numbered(3), batch_size=4)
    assert len(make_dataset(numbered(3), batch_size=4, drop_remainder=False)) == 1
