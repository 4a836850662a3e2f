"""What scores the images of a data set: a data set names one of these, and nothing else knows how it is scored."""

import functools

import numpy as np

from trilemma.data import all_images, check_labels, get_data_set, load_images
from trilemma.evaluation import metrics
from trilemma.training import pretrained

SECOND = "classifier2"  # family of the second evaluator


class FeatureSpace:
    """The features of one classifier of a data set, and those of the real test images.

    Args:
        data_set: data.DataSet.
        family: of the classifier, a key of `recipes.RECIPES`.

    Attributes:
        weights: names of the files on which scores depend.

    Raises:
        ValueError: the classifier or the features of its test images are not there.
    """

    def __init__(self, data_set, family="classifier"):
        self.weights = weights_names(data_set.name, family)
        index, remedy = pretrained.pretrained_index(), f"python -m trilemma train {self.weights[0]}"
        if not set(self.weights) <= index.keys():
            raise ValueError(f"there is no evaluator of {data_set.name} yet; train it: {remedy}")
        if index[self.weights[1]].get("classifier_sha256") != index[self.weights[0]]["sha256"]:
            raise ValueError(
                f"the reference features of {data_set.name} are not those of its classifier; train it again: {remedy}"
            )

    @functools.cached_property
    def classifier(self):
        """Whatever the global policy is, features are computed in float32."""
        return pretrained.load_pretrained(self.weights[0], dtype="float32")

    def reference(self):
        """Features (n, 128) of the real test images in a fixed random order, and their labels by the classifier."""
        arrays = pretrained.load_arrays(self.weights[1])
        return arrays["features"], arrays["labels"]


class FeatureEvaluator:
    """Compares images with real test images in the features of the data set's own classifiers, in float32.

    The first one gives all scores. The second, another network trained on its own, gives a few again, under names
    that end in `_2`: what the two do not agree on depends on the features. It is left out where it is not trained.

    Args:
        data_set: data.DataSet.

    Attributes:
        weights: names of the files on which scores depend.
        most_images: as many can be scored at most.
    """

    def __init__(self, data_set):
        self.data_set = data_set
        self.first = FeatureSpace(data_set)
        self.second = FeatureSpace(data_set, SECOND) if is_trained(data_set, SECOND) else None
        self.weights = self.first.weights + (self.second.weights if self.second else ())
        self.most_images = len(self.first.reference()[0])

    def score(self, images, labels=None):
        """Scores images against as many real test images, a fixed random choice of them.

        Args:
            images: (num_images, height, width, channels), uint8, or floats in [0, 1].
            labels: integers (num_images,), what the images should show; or None.

        Returns:
            dict: frechet_distance, kernel_distance, sliced_distance, precision, recall, density, coverage,
            clipped_density, clipped_coverage, classes_covered, class_kl, see `metrics`; and of the second classifier
            frechet_distance_2, clipped_density_2, clipped_coverage_2. With labels also accuracy and accuracy_2: the
            share of images that each classifier takes for what they should show.
        """
        if labels is not None:
            labels = check_labels(labels, len(images), self.data_set.num_classes)
        features, predicted = self.first.classifier.embed(images)
        real_features, real_labels = self.first.reference()
        real_features = real_features[: len(features)]
        scores = {
            "frechet_distance": metrics.frechet_distance(real_features, features),
            "kernel_distance": metrics.kernel_distance(real_features, features),
            "sliced_distance": metrics.sliced_distance(real_features, features),
            **metrics.neighbourhood_scores(real_features, features),
            # Labels by the classifier on both sides, so that its own errors do not count as missing classes.
            **metrics.class_scores(real_labels, predicted, self.data_set.num_classes),
        }
        if labels is not None:
            scores["accuracy"] = float(np.mean(predicted == labels))
        if self.second is not None:
            features, predicted = self.second.classifier.embed(images)
            real_features = self.second.reference()[0][: len(features)]
            neighbours = metrics.neighbourhood_scores(real_features, features)
            scores["frechet_distance_2"] = metrics.frechet_distance(real_features, features)
            scores |= {f"{key}_2": neighbours[key] for key in ("clipped_density", "clipped_coverage")}
            if labels is not None:
                scores["accuracy_2"] = float(np.mean(predicted == labels))
        return scores


class ModeEvaluator:
    """Counts the modes of stacked images: the classifier of the single ones names every channel.

    Arguments and attributes as in `FeatureEvaluator`; images are compared with no others, so any number can be scored.
    """

    most_images = 2**31

    def __init__(self, data_set):
        self.single = evaluator_of(data_set.made_from)
        self.num_channels = data_set.image_shape[-1]
        self.weights = self.single.first.weights[:1]

    def score(self, images, labels=None):
        """Returns a dict: modes_covered, mode_kl. See `metrics.mode_scores`; labels are not looked at."""
        num_classes = self.single.data_set.num_classes
        labels = np.zeros(len(images), int)
        for channel in range(self.num_channels):
            labels = num_classes * labels + self.single.first.classifier.embed(images[..., channel : channel + 1])[1]
        return metrics.mode_scores(labels, num_classes**self.num_channels)


EVALUATORS = {"features": FeatureEvaluator, "modes": ModeEvaluator}


def weights_names(name, family="classifier"):
    """The weights files of a classifier of a data set, and of the features of real test images by it."""
    return f"{family}_{name}", f"{family.replace('classifier', 'reference')}_{name}"


def is_trained(data_set, family="classifier"):
    """Whether classifier and reference of a data set, or of the one that it is made from, are there."""
    return set(weights_names(data_set.made_from or data_set.name, family)) <= pretrained.pretrained_index().keys()


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


def save_reference(data_set, family="classifier", data_dir=None):
    """Computes features and labels of the test images of a data set with one of its classifiers, and saves them."""
    name, reference_name = weights_names(data_set, family)
    with all_images():
        images, _ = load_images(data_set, "test", data_dir)
    # MNIST is ordered (by writer, and its first 5,000 test images are cleaner): any first n must be typical.
    images = images[np.random.default_rng(0).permutation(len(images))]
    features, labels = pretrained.load_pretrained(name, dtype="float32").embed(images)
    made_by = pretrained.pretrained_index()[name]["sha256"]
    arrays = {"features": features, "labels": labels.astype(np.min_scalar_type(int(labels.max())))}
    pretrained.save_arrays(reference_name, arrays, classifier_sha256=made_by)
