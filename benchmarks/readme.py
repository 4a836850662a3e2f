"""Rewrites the results table of README.md and the figures results/trilemma_<data set>.png from results/.

python benchmarks/readme.py
"""

import pathlib
import re

from trilemma import data, plotting, records, scoreboard

NUM_IMAGES = 1000
MODELS = ("vae", "vae2", "dcgan", "dcgan2", "ddpm")
TRIANGLES = ("vae", "dcgan", "ddpm")


def results_table():
    """The scoreboard of both data sets as Markdown."""
    results = records.load_results(f"scoreboard_{NUM_IMAGES}")
    names = [f"{row}_{data_set}" for data_set in data.CLASS_NAMES for row in ("real", *MODELS, "gaussian")]
    columns = {"model": "", "num_images": "d", "num_seeds": "d", "frechet_distance": ".1f", "precision": ".2f"}
    columns |= {"recall": ".2f", "passes_per_image": "d", "images_per_second": ",.1f"}
    rows = [{"model": name, **results[name]} for name in names if name in results]
    return records.markdown_table([{**row, "num_seeds": len(row["seeds"])} for row in rows], columns)


def main():
    """Rewrites both."""
    readme = pathlib.Path("README.md")
    text, count = re.subn(r"\| model \|.*?(?=\n\n)", results_table(), readme.read_text(), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"README.md has {count} tables that begin with '| model |'; expected one.")
    readme.write_text(text)
    results = records.load_results(f"scoreboard_{NUM_IMAGES}")
    for data_set in data.CLASS_NAMES:
        rows = {name: results[f"{name}_{data_set}"] for name in ("real", *TRIANGLES, "gaussian")}
        corners = {name: scoreboard.trilemma_corners(name, rows) for name in TRIANGLES}
        plotting.plot_trilemma(corners, title=data_set).savefig(f"results/trilemma_{data_set}.png", dpi=100)


if __name__ == "__main__":
    main()
