import numpy as np
import pytest

from trilemma.data import SAMPLE_DIR, load_images
from trilemma.evaluation import faults, metrics
from trilemma.training import pretrained

NUM_IMAGES = 1000


@pytest.fixture
def pool(random):
    """300 images whose first pixel is their number over 1000 and whose second is their class over 10."""
    images, labels = random.uniform(size=(300, 6, 4, 1)), np.arange(300) % 10
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(300) / 1000, labels / 10
    return images, labels


def numbers(damaged):
    return np.round(1000 * damaged[:, 0, 0, 0].astype(float)).astype(int)


def classes(damaged):
    return np.round(10 * damaged[:, 0, 1, 0].astype(float)).astype(int)


def test_every_fault_gives_as_many_public_images(pool):
    for num_images in (11, 40, 66):
        damaged = faults.damage(*pool, num_images)
        assert list(damaged) == list(faults.FAULTS)
        for images in damaged.values():
            assert (images.shape, images.dtype) == ((num_images, 6, 4, 1), np.float32)
            assert 0 <= images.min() <= images.max() <= 1


def test_bytes_give_what_floats_give(random):
    images, labels = random.integers(0, 256, (100, 5, 5, 3), "uint8"), np.arange(100) % 10
    before, of_bytes = images.copy(), faults.damage(images, labels, 20)
    np.testing.assert_array_equal(images, before)
    for name, of_floats in faults.damage(images / np.float32(255), labels, 20).items():
        np.testing.assert_allclose(of_bytes[name], of_floats, atol=1e-6)


def test_seeds_choose_images_and_noise(pool):
    first, again, other = (faults.damage(*pool, 40, seed) for seed in (3, 3, 4))
    for name in faults.FAULTS:
        np.testing.assert_array_equal(first[name], again[name])
        assert np.any(first[name] != other[name])


def test_copies_are_of_images_that_no_other_fault_has(pool):
    damaged = faults.damage(*pool, 60)
    copied = set(numbers(damaged["copies of training images"]))
    assert len(copied) == 60
    for name in ("nothing", "half of the classes", "one class", "one class, ten outliers", "a tenth, ten times"):
        assert not copied & set(numbers(damaged[name]))


def test_what_each_fault_does(pool):
    images, labels = pool
    draw = np.random.default_rng(0)
    done = {name: fault(images, labels, 40, draw) for name, fault in faults.FAULTS.items()}
    intact = images[:40].astype("float32")
    np.testing.assert_array_equal(done["nothing"], intact)
    np.testing.assert_allclose(
        done["blur"][:, 2, 1], np.mean([intact[:, i, j] for i in (1, 2, 3) for j in (0, 1, 2)], axis=0), rtol=1e-5
    )
    corner = (4 * intact[:, 0, 0] + 2 * intact[:, 0, 1] + 2 * intact[:, 1, 0] + intact[:, 1, 1]) / 9
    np.testing.assert_allclose(done["blur"][:, 0, 0], corner, rtol=1e-5)
    added = (done["noise"] - intact)[(done["noise"] > 0) & (done["noise"] < 1)]
    assert 0.1 < np.std(added) < 0.2
    assert set(classes(done["half of the classes"])) == {0, 1, 2, 3, 4}
    assert set(classes(done["one class"])) == {3}
    assert np.bincount(classes(done["one class, ten outliers"])).tolist() == [2, 1, 1, 30, 1, 1, 1, 1, 1, 1]
    assert np.unique(numbers(done["half of the images, twice"]), return_counts=True)[1].tolist() == [2] * 20
    assert np.unique(numbers(done["a tenth, ten times"]), return_counts=True)[1].tolist() == [10] * 4
    kept, invented = done["half dropped, half invented"][:20], done["half dropped, half invented"][20:]
    assert set(classes(kept)) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(np.sort(invented.reshape(20, -1)), np.sort(intact[:20].reshape(20, -1)))
    assert np.all(np.any(invented != intact[:20], axis=(1, 2, 3)))


def test_gaussian_pixels_have_the_moments_of_the_pool(random):
    means = random.uniform(0.4, 0.6, (3, 3, 1))
    images = means + random.uniform(-0.1, 0.1, (2000, 3, 3, 1))
    drawn = faults.gaussian_pixels(images, None, 4000, random)
    np.testing.assert_allclose(drawn.mean(axis=0), images.mean(axis=0), atol=0.005)
    np.testing.assert_allclose(drawn.std(axis=0), images.std(axis=0), rtol=0.1)
    assert np.abs(np.corrcoef(drawn.reshape(4000, -1).T) - np.eye(9)).max() < 0.1


def test_a_class_with_few_images_repeats_them_at_most_three_times(pool):
    images, labels = pool
    assert np.unique(numbers(faults.one_class(images, labels, 90, None)), return_counts=True)[1].tolist() == [3] * 30
    with pytest.raises(ValueError, match=r"the classes \[3\] have 30 images; 91 of them.*take at least 31"):
        faults.one_class(images, labels, 91, None)


@pytest.mark.parametrize(
    "labels, num_images, message",
    [
        (np.arange(100) % 10, 10, "num_images is 10; expected more than 10 and at most half of the 100"),
        (np.arange(100) % 10, 51, "num_images is 51"),
        (np.arange(100) % 3, 40, r"the classes \[3\] have 0 images"),
        (np.full(100, 3), 20, "classes other than 3 have 0 images; 10 are needed"),
        (np.arange(99) % 10, 20, "labels"),
    ],
)
def test_too_few_images_are_refused(labels, num_images, message, random):
    with pytest.raises(ValueError, match=message):
        faults.damage(random.uniform(size=(100, 4, 4, 1)), labels, num_images)
    with pytest.raises(ValueError, match="a fault takes 101 images; only 100"):
        faults.nothing(np.zeros((100, 4, 4, 1)), None, 101, None)


@pytest.fixture(scope="module", params=["mnist", "fashion_mnist"])
def scored(request):
    """Scores of the damaged images of the sample that ships; and against all test images, of the pixels' noise."""
    damaged = faults.damage(*load_images(request.param, data_dir=SAMPLE_DIR), NUM_IMAGES)
    real = pretrained.load_arrays(f"reference_{request.param}")["features"]
    classifier = pretrained.load_pretrained(f"classifier_{request.param}", dtype="float32")
    features = {name: classifier.embed(images)[0] for name, images in damaged.items()}
    scores = {name: metrics.neighbourhood_scores(real[:NUM_IMAGES], each) for name, each in features.items()}
    return scores, metrics.neighbourhood_scores(real, features["Gaussian pixels"])


@pytest.mark.slow
def test_clipped_coverage_falls_to_what_is_left(scored):
    coverage = {name: row["clipped_coverage"] for name, row in scored[0].items()}
    assert min(coverage["nothing"], coverage["copies of training images"]) > 0.9
    assert coverage["half of the classes"] == pytest.approx(0.5, abs=0.06)
    assert coverage["one class"] == pytest.approx(0.1, abs=0.06)
    # Ten images more than nothing of nine classes are about a hundredth.
    assert coverage["one class, ten outliers"] < coverage["one class"] + 0.02
    # Here each kept class has as many images as real ones, and some balls stay less than full.
    assert coverage["half dropped, half invented"] == pytest.approx(0.4, abs=0.06)
    assert coverage["half of the images, twice"] == pytest.approx(0.8, abs=0.06)
    assert coverage["a tenth, ten times"] == pytest.approx(0.4, abs=0.06)
    assert coverage["Gaussian pixels"] < 0.06


@pytest.mark.slow
def test_ordinary_recall_is_misled_where_clipped_coverage_is_not(scored):
    recall = {name: row["recall"] for name, row in scored[0].items()}
    assert recall["one class"] < 0.2
    assert recall["one class, ten outliers"] > 0.8
    assert recall["a tenth, ten times"] < 0.01


@pytest.mark.slow
def test_clipped_density_tells_noise_where_precision_does_not(scored):
    scores, noise_against_all = scored
    for name in ("nothing", "half of the classes", "one class", "half of the images, twice", "a tenth, ten times"):
        assert scores[name]["clipped_density"] > 0.93
    assert scores["half dropped, half invented"]["clipped_density"] == pytest.approx(0.5, abs=0.12)
    assert scores["half dropped, half invented"]["precision"] > 0.9
    assert scores["noise"]["clipped_density"] < 0.15
    # Balls are smaller where real images are denser: 10,000 are needed to keep nearly all noise out.
    assert scores["Gaussian pixels"]["clipped_density"] < 0.3
    assert noise_against_all["clipped_density"] < 0.05
    assert noise_against_all["precision"] > 0.55
