"""Data sets, files and folders of images, labels, batches."""

from trilemma.data.batches import Batches, as_float, check_images, check_labels, check_sides, make_dataset, whole_number
from trilemma.data.datasets import (
    DATA_SETS,
    SAMPLE_DIR,
    DataSet,
    SampleWarning,
    all_images,
    get_data_set,
    load_images,
    stack_digits,
)

__all__ = [
    "DATA_SETS", "SAMPLE_DIR", "Batches", "DataSet", "SampleWarning", "all_images", "as_float", "check_images",
    "check_labels", "check_sides", "get_data_set", "load_images", "make_dataset", "stack_digits", "whole_number",
]  # fmt: skip
