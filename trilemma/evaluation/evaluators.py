"""What scores the images of a data set: a data set names one of these, and nothing else knows how it is scored."""

import functools

import numpy as np

from trilemma.data import all_images, get_data_set, load_images
from trilemma.evaluation import metrics
from trilemma.training import pretrained


class FeatureEvaluator:
    """Compares images with real test images in the features of the data set's own classifier, in float32.

    Args:
        data_set: data.DataSet.

    Attributes:
        weights: names of the files on which scores depend.
        most_images: as many can be scored at most.
    """

    def __init__(self, data_set):
        self.data_set = data_set
        self.classifier_name, self.reference_name = f"classifier_{data_set.name}", f"reference_{data_set.name}"
        index, remedy = pretrained.pretrained_index(), f"python -m trilemma train {self.classifier_name}"
        if not is_trained(data_set):
            raise ValueError(f"there is no evaluator of {data_set.name} yet; train it: {remedy}")
        if index[self.reference_name].get("classifier_sha256") != index[self.classifier_name]["sha256"]:
            raise ValueError(
                f"the reference features of {data_set.name} are not those of its classifier; train it again: {remedy}"
            )
        self.weights = (self.classifier_name, self.reference_name)
        self.most_images = len(pretrained.load_arrays(self.reference_name)["labels"])

    @functools.cached_property
    def classifier(self):
        """Whatever the global policy is, features are computed in float32."""
        return pretrained.load_pretrained(self.classifier_name, dtype="float32")

    def score(self, images):
        """Scores images against as many real test images, a fixed random choice of them.

        Args:
            images: (num_images, height, width, channels), uint8, or floats in [0, 1].

        Returns:
            dict: frechet_distance, kernel_distance, precision, recall, density, coverage, classes_covered, class_kl.
            See `metrics`.
        """
        features, labels = self.classifier.embed(images)
        reference = pretrained.load_arrays(self.reference_name)
        real_features = reference["features"][: len(features)]
        return {
            "frechet_distance": metrics.frechet_distance(real_features, features),
            "kernel_distance": metrics.kernel_distance(real_features, features),
            **metrics.neighbourhood_scores(real_features, features),
            # Labels by the classifier on both sides, so that its own errors do not count as missing classes.
            **metrics.class_scores(reference["labels"], labels, self.data_set.num_classes),
        }


class ModeEvaluator:
    """Counts the modes of stacked images: the classifier of the single ones names every channel.

    Arguments and attributes as in `FeatureEvaluator`; images are compared with no others, so any number can be scored.
    """

    most_images = 2**31

    def __init__(self, data_set):
        self.single = evaluator_of(data_set.made_from)
        self.num_channels = data_set.image_shape[-1]
        self.weights = self.single.weights[:1]

    def score(self, images):
        """Returns a dict: modes_covered, mode_kl. See `metrics.mode_scores`."""
        num_classes = self.single.data_set.num_classes
        labels = np.zeros(len(images), int)
        for channel in range(self.num_channels):
            labels = num_classes * labels + self.single.classifier.embed(images[..., channel : channel + 1])[1]
        return metrics.mode_scores(labels, num_classes**self.num_channels)


EVALUATORS = {"features": FeatureEvaluator, "modes": ModeEvaluator}


def is_trained(data_set):
    """Whether classifier and reference of a data set, or of the one that it is made from, are there."""
    name = data_set.made_from or data_set.name
    return {f"classifier_{name}", f"reference_{name}"} <= pretrained.pretrained_index().keys()


@functools.cache
def _make_evaluator(data_set, checksums):
    if data_set.evaluator not in EVALUATORS:
        raise ValueError(
            f"unknown evaluator {data_set.evaluator!r} of {data_set.name}; expected one of {list(EVALUATORS)}."
        )
    return EVALUATORS[data_set.evaluator](data_set)


def evaluator_of(name):
    """The evaluator of the data set of this name.

    Raises:
        ValueError: unknown name, or an evaluator that was never trained.
    """
    # New weights, by this process or another, make a new evaluator.
    checksums = tuple(sorted((file, entry["sha256"]) for file, entry in pretrained.pretrained_index().items()))
    return _make_evaluator(get_data_set(name), checksums)


def save_reference(name, data_dir=None):
    """Computes features and labels of the test images of a data set with its classifier, and saves them."""
    with all_images():
        images, _ = load_images(name, "test", data_dir)
    # MNIST is ordered (by writer, and its first 5,000 test images are cleaner): any first n must be typical.
    images = images[np.random.default_rng(0).permutation(len(images))]
    classifier = pretrained.load_pretrained(f"classifier_{name}", dtype="float32")
    features, labels = classifier.embed(images)
    made_by = pretrained.pretrained_index()[f"classifier_{name}"]["sha256"]
    arrays = {"features": features, "labels": labels.astype(np.min_scalar_type(int(labels.max())))}
    pretrained.save_arrays(f"reference_{name}", arrays, classifier_sha256=made_by)
