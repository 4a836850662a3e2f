import multiprocessing
import pathlib
import time
import warnings

import keras
import numpy as np
import PIL.Image
import pytest

from trilemma.data import DATA_SETS, SampleWarning, all_images, datasets, folders, get_data_set, load_images

DIGITS_AND_CLOTHES = ("mnist", "fashion_mnist")


def arrays_of(value, count=3):
    """A data set whose pixels all have one value, so that its source can be told."""
    images, labels = np.full((count, 28, 28), value, "uint8"), np.arange(count, dtype="uint8")
    return {"x_train": images, "y_train": labels, "x_test": images[:2], "y_test": labels[:2]}


def save(folder, value=51, name="mnist", **changes):
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name}.npz", **{**arrays_of(value), **changes})
    return folder


@pytest.fixture(autouse=True)
def no_download(monkeypatch, tmp_path):
    def fail():
        raise Exception("URL fetch failure on https://example.org: 7 -- the host is asleep")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(datasets, "_announced", set())  # as in a process that has just begun
    for dataset in (keras.datasets.mnist, keras.datasets.fashion_mnist, keras.datasets.cifar10):
        monkeypatch.setattr(dataset, "load_data", fail)


@pytest.mark.parametrize("split, count", [("train", 3), ("test", 2)])
def test_images_are_the_bytes_of_the_file(tmp_path, split, count):
    images, labels = load_images("mnist", split, save(tmp_path, 51))
    assert (images.shape, images.dtype) == ((count, 28, 28, 1), "uint8")
    assert (images == 51).all()
    assert labels.dtype == "int32"
    assert labels.tolist() == list(range(count))


def test_named_folder_comes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TRILEMMA_DATA", str(save(tmp_path / "environment", 255)))
    assert load_images("mnist", data_dir=save(tmp_path / "argument", 0))[0].max() == 0
    assert load_images("mnist")[0].min() == 255


def test_environment_comes_before_the_download(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: pytest.fail("downloaded"))
    monkeypatch.setenv("TRILEMMA_DATA", str(save(tmp_path)))
    assert len(load_images("mnist")[0]) == 3


@pytest.mark.parametrize("name", DIGITS_AND_CLOTHES)
@pytest.mark.parametrize("split, count", [("train", 3), ("test", 2)])
def test_download_comes_before_the_sample(monkeypatch, name, split, count):
    arrays = arrays_of(255)
    downloaded = (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", lambda: downloaded)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, labels = load_images(name, split)
    assert len(images) == len(labels) == count
    assert images.min() == 255


def test_stacked_digits_spell_their_label(tmp_path, random):
    images = np.repeat(np.arange(10, dtype="uint8"), 30)[:, None, None] * np.ones((1, 28, 28), "uint8")
    labels = np.repeat(np.arange(10, dtype="uint8"), 30)
    folder = save(tmp_path, x_train=images, y_train=labels)
    images, labels = load_images("stacked_mnist", "train", folder)
    assert (images.shape, images.dtype, labels.dtype) == ((300, 28, 28, 3), "uint8", "int32")
    digits = images[:, 0, 0]
    np.testing.assert_array_equal(labels, [int("".join(map(str, row))) for row in digits])
    assert len(set(labels)) > 200  # of 300 draws from 1,000 modes
    np.testing.assert_array_equal(images, load_images("stacked_mnist", "train", folder)[0])


@pytest.mark.parametrize("name", DIGITS_AND_CLOTHES)
@pytest.mark.parametrize("split, count", [("train", 5000), ("test", 2000)])
def test_shipped_sample_is_real_and_announced_once(name, split, count):
    with pytest.warns(UserWarning, match=f"{name} could not be downloaded.*{count} {split} images.*TRILEMMA_DATA") as w:
        images, labels = load_images(name, split)
    assert len(w) == 1
    assert w[0].filename == __file__
    assert images.shape == (count, 28, 28, 1)
    assert (images.dtype, images.max()) == ("uint8", 255)
    assert images.mean() / 255 == pytest.approx({"mnist": 0.1307, "fashion_mnist": 0.2861}[name], abs=0.01)
    assert set(labels) == set(range(10))
    assert get_data_set(name).num_classes == 10


def test_unknown_names_list_the_known_ones():
    for look_up in (load_images, get_data_set):
        with pytest.raises(ValueError, match="'cifar'.*cifar10.*fashion_mnist.*mnist"):
            look_up("cifar")
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


@pytest.mark.parametrize(
    "labels, found",
    [
        (np.eye(10, dtype="uint8")[:3], r"shape \(3, 10\).*argmax"),
        (np.zeros((3, 1), "uint8"), r"shape \(3, 1\).*labels\[:, 0\]"),
        (np.array([0, 10, 2], "uint8"), r"lie in 0 \.\.\. 10; expected 0 \.\.\. 9"),
        (np.array([0, -1, 2]), r"lie in -1 \.\.\. 2; expected 0 \.\.\. 9"),
        (np.array([0, 0.5, 2]), "float64; expected integers"),
        (np.array([0, np.nan, 2], "float32"), "float32; expected integers"),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_the_name_of_their_file(tmp_path, labels, found):
    with pytest.raises(ValueError, match=f"mnist.npz: labels.*{found}.*[Rr]eplace it"):
        load_images("mnist", data_dir=save(tmp_path, y_train=labels))


def test_the_warning_of_the_sample_holds_the_whole_reason():
    with pytest.warns(SampleWarning, match="could not be downloaded") as caught:
        load_images("mnist")
    assert "URL fetch failure on https://example.org: 7 -- the host is asleep" in str(caught[0].message)


def test_the_sample_is_announced_once_per_process_and_data_set(monkeypatch, capsys):
    def fail():
        print("Downloading data")  # as Keras does
        raise Exception("URL fetch failure on https://example.org")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for split in ("train", "test", "train"):
            load_images("mnist", split)
            load_images("stacked_mnist", split)
        load_images("fashion_mnist")
        load_images("fashion_mnist")
    assert [str(warning.message).split()[0] for warning in caught] == ["mnist", "fashion_mnist"]
    assert tuple(capsys.readouterr()) == ("", "Downloading data\n")


def test_an_announced_sample_is_refused_all_the_same_where_all_images_are_needed():
    with pytest.warns(SampleWarning):
        load_images("mnist")
    for _ in range(2):
        with pytest.raises(ValueError, match="made from all images"), all_images():
            load_images("mnist")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_images("mnist")  # said already


def test_a_refused_sample_is_announced_when_it_is_used():
    with pytest.raises(ValueError, match="made from all images"), all_images():
        load_images("mnist")
    with pytest.warns(SampleWarning):
        load_images("mnist")


def test_where_all_images_are_needed_the_sample_is_refused():
    with pytest.raises(ValueError, match="5000 train images that ship.*made from all images"), all_images():
        load_images("mnist")
    with pytest.raises(ValueError, match="5000 train images that ship"), all_images():
        load_images("stacked_mnist")


def test_within_all_images_other_sources_and_warnings_stay(tmp_path):
    with pytest.warns(RuntimeWarning, match="something else"), all_images():
        assert len(load_images("mnist", data_dir=save(tmp_path))[0]) == 3
        warnings.warn("something else", RuntimeWarning, stacklevel=1)


def test_a_data_set_without_a_sample_says_how_to_get_it():
    with pytest.raises(FileNotFoundError, match="cifar10 could not be downloaded.*the host is asleep.*TRILEMMA_DATA"):
        load_images("cifar10")


@pytest.mark.parametrize(
    "damage", [EOFError("Compressed file ended"), ValueError("buffer size must be a multiple"), OSError("bad gzip")]
)
def test_damaged_download_is_an_error_that_names_its_folder(monkeypatch, tmp_path, damage):
    def fail():
        raise damage

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", fail)
    with pytest.raises(ValueError, match="fashion_mnist.*keras/datasets is damaged.*Delete the files") as caught:
        load_images("fashion_mnist")
    assert str(tmp_path / "keras" / "datasets") in str(caught.value)
    assert str(damage) in str(caught.value)


def download_slowly(cache, log):
    """What `keras.datasets` does: it downloads what is not there yet, and reads what is, be it whole or not."""
    file = cache / "mnist.npy"
    if not file.exists():
        with log.open("a") as lines:
            lines.write("downloaded\n")
        file.write_bytes(b"")
        time.sleep(1)
        np.save(file, np.full((3, 28, 28), 7, "uint8"))
    images, labels = np.load(file), np.arange(3, dtype="uint8")
    return (images, labels), (images, labels)


@pytest.mark.filterwarnings("ignore:.*fork")
def test_of_two_processes_one_downloads_and_both_get_the_images(monkeypatch, tmp_path):
    cache, log = tmp_path / "keras" / "datasets", tmp_path / "log.txt"
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: download_slowly(cache, log))

    def load(queue):
        warnings.simplefilter("error", SampleWarning)
        try:
            queue.put(int(load_images("mnist")[0].sum()))
        except Exception as error:
            queue.put(repr(error))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=load, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert found == [3 * 28 * 28 * 7] * 2
    assert log.read_text() == "downloaded\n"


def cifar_folder(root, classes=None, side=32):
    """A folder of class folders with one image each, whose pixels tell the class."""
    for split in ("train", "test"):
        for number, name in enumerate(classes or get_data_set("cifar10").class_names):
            folder = root / "cifar10" / split / name
            folder.mkdir(parents=True)
            PIL.Image.new("RGB", (side, side), (number, 0, 20 * number)).save(folder / "a.png")
    return root


@pytest.mark.parametrize("side", [32, 40])
def test_cifar10_comes_from_a_folder_of_class_folders(tmp_path, side):
    images, labels = load_images("cifar10", "test", cifar_folder(tmp_path, side=side))
    assert (images.shape, images.dtype, labels.dtype) == ((10, 32, 32, 3), "uint8", "int32")
    assert labels.tolist() == list(range(10))
    np.testing.assert_array_equal(images[:, 5, 5], [(number, 0, 20 * number) for number in range(10)])


def test_class_folders_of_other_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cifar10 holds the classes \('cat', 'dog'\).*'airplane'.*Rename"):
        load_images("cifar10", "train", cifar_folder(tmp_path, ["cat", "dog"]))


def test_cifar10_comes_from_an_archive(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")
    folder = save(tmp_path, name="cifar10", x_train=images)
    np.testing.assert_array_equal(load_images("cifar10", "train", folder)[0], images)
    with pytest.raises(ValueError, match=r"cifar10.npz.*\(2, 28, 28\).*expected.*\(n, 32, 32, 3\)"):
        load_images("cifar10", "test", folder)


def test_an_archive_comes_before_a_folder_of_the_same_name(tmp_path):
    images = np.zeros((3, 32, 32, 3), "uint8")
    folder = save(cifar_folder(tmp_path), name="cifar10", x_train=images)
    assert len(load_images("cifar10", "train", folder)[0]) == 3


def test_labels_of_a_download_lose_their_second_axis(monkeypatch):
    images, labels = np.zeros((3, 32, 32, 3), "uint8"), np.array([[3], [1], [9]], "uint8")
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: ((images, labels), (images, labels)))
    loaded, numbers = load_images("cifar10")
    assert (loaded.shape, numbers.tolist(), numbers.dtype) == ((3, 32, 32, 3), [3, 1, 9], "int32")


def any_folder(root):
    for split, names in {"train": ("bird", "ant", "ant"), "test": ("bird",)}.items():
        for number, name in enumerate(names):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            PIL.Image.new("L", (8, 6), 10 + number).save(root / split / name / f"{number}.png")
    return root


def test_any_folder_of_images_has_splits_and_sorted_classes(tmp_path):
    images, labels = load_images(any_folder(tmp_path / "animals"))
    assert (images.shape, images.dtype) == ((3, 6, 8, 1), "uint8")
    assert (labels.tolist(), images[:, 0, 0, 0].tolist()) == ([0, 0, 1], [11, 12, 10])
    images, labels = load_images(str(tmp_path / "animals"), "test", image_size=4, channels=3)
    assert images.shape == (1, 4, 4, 3)


def test_size_and_colour_belong_to_folders_alone(tmp_path):
    for settings in (dict(image_size=14), dict(channels=3), dict(background="black")):
        with pytest.raises(ValueError, match="image_size, channels and background are for folders"):
            load_images("mnist", data_dir=save(tmp_path), **settings)


def test_a_folder_that_is_not_there_is_an_unknown_name(tmp_path):
    with pytest.raises(ValueError, match="unknown data set.*nowhere.*expected one of.*mnist.*or a folder"):
        load_images(tmp_path / "nowhere")


def test_large_folders_stay_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "STREAM_BYTES", 100)
    images, _ = load_images(any_folder(tmp_path))
    assert isinstance(images, folders.ImageFiles)
    assert images[[2, 0]][:, 0, 0, 0].tolist() == [10, 11]


def test_every_data_set_has_what_it_is_made_of():
    for name, data_set in DATA_SETS.items():
        assert data_set.name == name
        sources = [data_set.download, data_set.folder, data_set.made_from]
        assert sum(source is not None for source in sources) == 1, name
        assert data_set.made_from is None or data_set.made_from in DATA_SETS
        assert data_set.title
    assert pathlib.Path(datasets.SAMPLE_DIR).is_dir()


def test_class_folders_may_be_sorted_otherwise_and_spell_a_slash_as_an_underscore(tmp_path):
    names = get_data_set("fashion_mnist").class_names
    for number, name in enumerate(names):
        folder = tmp_path / "fashion_mnist" / "train" / name.replace("/", "_")
        folder.mkdir(parents=True)
        folders.save_image(folder / "0.png", np.full((28, 28, 1), 20 * number, "uint8"))
    images, labels = load_images("fashion_mnist", "train", tmp_path)
    assert sorted(labels.tolist()) == list(range(10))
    assert labels.tolist() != list(range(10))
    np.testing.assert_array_equal(images[:, 0, 0, 0], 20 * labels)


def test_a_data_set_without_a_download_says_so(monkeypatch):
    monkeypatch.setitem(DATA_SETS, "own", datasets.DataSet("own", (4, 4, 1), ("a", "b")))
    with pytest.raises(FileNotFoundError, match="own has no download; set TRILEMMA_DATA"):
        load_images("own")


@pytest.mark.parametrize("name", [None, 5, ["mnist"]])
def test_a_name_is_a_string_or_a_path(name):
    with pytest.raises(ValueError, match="name is .*; expected the name of a data set, or the path"):
        load_images(name)
