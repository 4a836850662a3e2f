"""The results folder: what the commands write, and what README and notebooks read and show."""

import io
import json
import pathlib

import matplotlib.image
import numpy as np

from trilemma import backend, device, files

RESULTS_DIR = pathlib.Path("results")
_PACKAGE_DIR = pathlib.Path(__file__).parent


def update_results(name, records):
    """Merges records (key -> dict) into results/<name>.json of this folder; a record of the same key is replaced.

    Other processes may do so at the same time.
    """
    change_results(name, lambda known: {**known, **records})


def change_results(name, change):
    """Replaces what results/<name>.json holds by `change` of it; no other process changes it meanwhile."""
    with files.locked(RESULTS_DIR):
        text = json.dumps(change(read_results(name)), indent=1, sort_keys=True)
        files.write_safely(RESULTS_DIR / f"{name}.json", text + "\n")


def read_results(name):
    """Reads results/<name>.json of this folder; empty before the first record.

    Raises:
        ValueError: the file is damaged.
    """
    file = RESULTS_DIR / f"{name}.json"
    try:
        return json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); restore it from the repository, or delete it.") from error


def environment():
    """Device and versions, for a results file."""
    return {"device": device.device_name(), **backend.versions()}


def load_results(name):
    """Reads `results/<name>.json` of the repository, or the copy inside an installed package."""
    return json.loads(_results_file(f"{name}.json").read_text())


def _results_file(name):
    for folder in (_PACKAGE_DIR.parent / "results", _PACKAGE_DIR / "results"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"results/{name} does not exist; python -m trilemma or a script in benchmarks/ writes it.")


def save_epoch_samples(name, checkpoint_dir):
    """Writes `results/epochs_<name>.png`, a row of ten images per epoch, from what `training.train` left there."""
    samples = sorted(pathlib.Path(checkpoint_dir).glob("epoch_*.npy"))
    strip = np.concatenate([np.concatenate(np.load(file), axis=1) for file in samples])
    picture = io.BytesIO()
    matplotlib.image.imsave(picture, np.broadcast_to(strip, (*strip.shape[:2], 3)), format="png")
    with files.locked(RESULTS_DIR):
        files.write_safely(RESULTS_DIR / f"epochs_{name}.png", picture.getvalue())


def load_epoch_samples(name, image_shape=(28, 28, 1)):
    """Reads `results/epochs_<name>.png`: ten images per epoch, drawn during the training from one fixed seed.

    Returns:
        float32 (num_epochs, 10, height, width, channels) in [0, 1].
    """
    height, width, channels = image_shape
    picture = matplotlib.image.imread(_results_file(f"epochs_{name}.png"))[..., :channels]
    return picture.reshape(-1, height, 10, width, channels).swapaxes(1, 2)


def markdown_table(rows, columns):
    """Formats rows (dicts) as a Markdown table.

    Args:
        rows: list of dicts.
        columns: key -> format specification, for example {"model": "", "precision": ".2f"}; a missing value shows
            as a dash, a spread behind its mean.
    """

    def cell(row, key, spec):
        if row.get(key) is None:
            return "–"
        spread = row.get("spread", {}).get(key)
        return format(row[key], spec) + ("" if spread is None else f" ± {spread:{spec}}")

    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    for row in rows:
        lines.append("| " + " | ".join(cell(row, key, spec) for key, spec in columns.items()) + " |")
    return "\n".join(lines)
