import keras
import numpy as np
import pytest

from trilemma import backend
from trilemma.data import Batches, as_float, check_images, check_labels, check_sides, folders, make_dataset


def numbered(count):
    """Images of one pixel, which is their number."""
    return np.arange(count, dtype="uint8").reshape(-1, 1, 1, 1)


def flat(batches):
    return [int(value) for batch in batches for value in np.ravel(batch)]


@pytest.mark.parametrize("drop_remainder, sizes", [(True, [4, 4]), (False, [4, 4, 2])])
def test_last_partial_batch(drop_remainder, sizes):
    batches = make_dataset(numbered(10), batch_size=4, drop_remainder=drop_remainder)
    assert isinstance(batches, Batches)
    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)


def test_unshuffled_batches_keep_the_order():
    assert flat(make_dataset(numbered(8), batch_size=4, shuffle=False)) == list(range(8))


def test_every_epoch_is_shuffled_anew_over_all_images():
    batches = make_dataset(numbered(100), batch_size=10, seed=0)
    first, second = flat(batches), flat(batches)
    assert sorted(first) == sorted(second) == list(range(100))
    assert list(range(100)) != first != second
    assert max(first[:10]) > 50


def test_seed_repeats_the_order():
    orders = [flat(make_dataset(numbered(50), batch_size=5, seed=seed)) for seed in (3, 3, 4)]
    assert orders[0] == orders[1] != orders[2]


def test_the_order_depends_on_seed_and_epoch_alone():
    whole, resumed = (make_dataset(numbered(50), batch_size=5, seed=3) for _ in range(2))
    epochs = [flat(whole) for _ in range(3)]
    resumed.epoch = 2
    assert flat(resumed) == epochs[2]
    assert whole.epoch == resumed.epoch == 3


def test_without_a_seed_orders_differ():
    orders = [flat(make_dataset(numbered(50), batch_size=5)) for _ in range(2)]
    assert orders[0] != orders[1]


def test_images_left_out_of_the_last_batch_change_from_epoch_to_epoch():
    batches = make_dataset(numbered(10), batch_size=4, seed=0)
    assert {number for _ in range(20) for number in flat(batches)} == set(range(10))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX reads the batches as they are")
def test_no_tuning_thread_holds_up_the_end_of_an_epoch():
    dataset = backend.fit_data(make_dataset(numbered(6), batch_size=4))
    assert dataset.options().autotune.enabled is False
    assert dataset.element_spec.shape[0] == 4
    partial = backend.fit_data(make_dataset(numbered(6), batch_size=4, drop_remainder=False))
    assert partial.element_spec.shape[0] is None
    assert len(partial) == 2


def test_labels_stay_with_their_images():
    for images, labels in make_dataset(numbered(20), np.arange(20), batch_size=5):
        np.testing.assert_array_equal(np.ravel(images), labels)
        assert (images.dtype, labels.dtype) == ("uint8", "int32")


def test_floats_stay_floats():
    (batch,) = make_dataset(np.full((4, 2, 2, 1), 0.5), batch_size=4)
    assert (batch.dtype, batch[0, 0, 0, 0]) == ("float64", 0.5)


def test_too_few_images_for_one_batch_are_an_error():
    with pytest.raises(ValueError, match="3 images do not fill one batch of 4"):
        make_dataset(numbered(3), batch_size=4)
    assert len(make_dataset(numbered(3), batch_size=4, drop_remainder=False)) == 1
    with pytest.raises(ValueError, match="0 images do not fill"):
        make_dataset(numbered(0), drop_remainder=False)


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_batch_size_is_a_whole_number(size):
    with pytest.raises(ValueError, match=f"batch_size is {size}"):
        make_dataset(numbered(5), batch_size=size)
    assert len(make_dataset(numbered(5), batch_size=np.int64(2))) == 2


@pytest.mark.parametrize("index", [2, -1])
def test_a_batch_beyond_the_epoch_is_an_index_error(index):
    with pytest.raises(IndexError):
        make_dataset(numbered(8), batch_size=4)[index]


def test_files_of_a_folder_are_read_batch_by_batch(tmp_path):
    for number in range(5):
        folders.save_image(tmp_path / f"{number}.png", np.full((3, 3, 1), number, "uint8"))
    paths, _, _ = folders.find_images(tmp_path)
    files = folders.ImageFiles(paths, (3, 3, 1))
    batches = make_dataset(files, batch_size=2, shuffle=False, drop_remainder=False)
    assert [batch[:, 0, 0, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]


def test_floats_are_bytes_over_255():
    images = np.array([0, 51, 255], "uint8").reshape(3, 1, 1, 1)
    assert as_float(images).dtype == as_float(images / 255).dtype == "float32"
    assert as_float(images).ravel().tolist() == [0, np.float32(51) / 255, 1]
    np.testing.assert_array_equal(as_float(as_float(images)), as_float(images))


def test_tensors_are_images_too():
    images = np.full((2, 3, 3, 1), 0.25, "float32")
    np.testing.assert_array_equal(check_images(keras.ops.convert_to_tensor(images)), images)


@pytest.mark.parametrize("shape", [(3,), (28, 28, 1), (3, 28, 28), (3, 28, 28, 1, 1)])
def test_images_have_four_axes(shape):
    with pytest.raises(ValueError, match=r"images have the shape.*expected \(num_images, height, width, channels\)"):
        make_dataset(np.zeros(shape, "uint8"))


def test_images_of_another_shape_are_refused_by_name():
    with pytest.raises(ValueError, match=r"pictures have the shape \(2, 3, 3, 1\); expected \(num_images, 4, 4, 1\)"):
        check_images(np.zeros((2, 3, 3, 1), "uint8"), (4, 4, 1), "pictures")


@pytest.mark.parametrize("kind", ["int32", "int64", "bool", "complex64", "uint16"])
def test_images_of_other_types_are_refused(kind):
    with pytest.raises(ValueError, match=f"images are {kind}; expected uint8, or floats"):
        as_float(np.zeros((2, 3, 3, 1), kind))


@pytest.mark.parametrize("value", [-0.1, 1.1, 255, np.nan, np.inf, -np.inf])
def test_one_value_out_of_range_is_refused(value):
    images = np.full((2, 3, 3, 1), 0.5, "float32")
    images[1, 2, 0, 0] = value
    for check in (check_images, as_float, make_dataset):
        with pytest.raises(ValueError, match=r"expected \[0, 1\], or uint8"):
            check(images)


@pytest.mark.parametrize(
    "labels, found",
    [
        (np.eye(3, dtype="int32"), r"shape \(3, 3\).*one-hot"),
        (np.zeros((3, 1), int), r"shape \(3, 1\).*labels\[:, 0\]"),
        ([0, 1], r"shape \(2,\); expected \(3,\)"),
        ([0, 1, 3], r"0 \.\.\. 3; expected 0 \.\.\. 2"),
        ([0, -1, 2], r"-1 \.\.\. 2; expected"),
        ([0, 0.5, 1], "float64; expected integers"),
        ([True, False, True], "bool; expected integers"),
    ],
)
def test_labels_are_one_class_per_image(labels, found):
    with pytest.raises(ValueError, match=found):
        check_labels(labels, 3, 3)


def test_good_labels_become_int32():
    assert check_labels(np.array([0, 2], "uint8"), 2, 3).dtype == "int32"
    assert check_labels([5, 900], 2, None).tolist() == [5, 900]


def test_labels_of_a_dataset_are_checked():
    with pytest.raises(ValueError, match=r"labels have the shape \(3,\); expected \(4,\)"):
        make_dataset(numbered(4), np.zeros(3, int), batch_size=2)


def test_sides_must_be_divisible():
    check_sides((8, 12, 1), 4)
    for shape in ((8, 10, 1), (10, 8, 1)):
        with pytest.raises(ValueError, match="do not fit; expected sides divisible by 4"):
            check_sides(shape, 4)


def test_an_epoch_counts_once_its_last_batch_was_read():
    batches = make_dataset(np.zeros((6, 2, 2, 1), "uint8"), batch_size=2, seed=0)
    for _ in zip(range(3), batches, strict=False):  # never asks for a fourth batch
        pass
    next(iter(batches))
    assert batches.epoch == 1


def test_an_epoch_that_was_not_read_to_its_end_does_not_count():
    batches = make_dataset(np.zeros((6, 2, 2, 1), "uint8"), batch_size=2, seed=0)
    batches.on_epoch_end()
    batches[0]
    batches.on_epoch_end()
    assert batches.epoch == 0
    for _ in batches:
        pass
    assert batches.epoch == 1


def test_a_pair_of_images_and_labels_is_no_array():
    with pytest.raises(ValueError, match="images are a tuple; expected an array. Give images and labels as two"):
        make_dataset((np.zeros((4, 2, 2, 1), "uint8"), np.zeros(4, "int32")))


@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_the_seed_of_an_order_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed is .*; expected a whole number of at least 0"):
        make_dataset(np.zeros((4, 2, 2, 1), "uint8"), batch_size=2, seed=seed)
