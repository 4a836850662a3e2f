"""The tables of README.md and RESULTS.md, from results/."""

import pathlib
import re

from study import claims, evidence
from trilemma import records
from trilemma.evaluation import scoreboard
from trilemma.training.pretrained import weights_table

HEADLINE = ("real", "ddpm", "solver20", "ddgan", "mixture_vae_gan", "vae", "dcgan")
NAMES = (
    "real", "mixture_vae_gan", "vae_gan", "mixture_vae", "vae", "mixture_vae_dcgan", "vae_dcgan", "vae2", "dcgan",
    "dcgan_averaged", "dcgan2", "solver20", "ddgan", "gaussian",
)  # fmt: skip
BY_PASSES = (
    "ddpm", "solver20", "ddgan", "student", "student2", "student1", "mixture_vae_gan", "mixture_vae", "dcgan", "vae",
)  # fmt: skip
SCORES = {"frechet_distance": ".1f", "clipped_coverage": ".2f"}  # of the tables that set both data sets side by side
EVALUATED = ("real", *BY_PASSES, "vae_gan", "vae2", "dcgan2", "gaussian")


def headline_table():
    """One row per family, its passes and speed, and its distance on both data sets, as Markdown."""
    return _side_by_side("family", HEADLINE, {"frechet_distance": ".1f"})


def results_table():
    """The scoreboard of both data sets as Markdown."""
    rows = [
        {"model": f"{name}_{data_set}", **row}
        for data_set in evidence.STUDIED
        for name, row in evidence.recorded_rows(data_set, NAMES, 10_000).items()
    ]
    columns = {"model": "", "num_images": "d", "num_seeds": "d", "frechet_distance": ".1f"}
    columns |= {"passes_per_image": "d", "images_per_second": ",.1f"}
    return seeds_table(rows, columns)


def passes_table():
    """Quality and coverage against passes on both data sets, as Markdown."""
    return _side_by_side("generator", BY_PASSES, SCORES)


def _side_by_side(first, names, scores):
    rows = {name: {first: name, "spread": {}} for name in names}
    for data_set in evidence.STUDIED:
        for name, row in evidence.recorded_rows(data_set, names).items():
            rows[name] |= {key: row.get(key) for key in ("passes_per_image", "images_per_second")}
            for score in scores:
                rows[name][f"{score} {data_set}"] = row[score]
                rows[name]["spread"][f"{score} {data_set}"] = row["spread"][score]
    columns = {first: "", "passes_per_image": "d", "images_per_second": ",.1f"} | _columns(scores)
    return records.markdown_table(list(rows.values()), columns)


def _columns(scores):
    return {f"{score} {data_set}": spec for data_set in evidence.STUDIED for score, spec in scores.items()}


def evaluators_table():
    """What two evaluators say of every row, and how each ranks the models by distance, as Markdown."""
    shown = []
    for data_set in evidence.STUDIED:
        rows = evidence.recorded_rows(data_set, EVALUATED)
        drawn = {name: row for name, row in rows.items() if name != "real"}
        first, second = (scoreboard.ranks(drawn, f"frechet_distance{end}", True) for end in ("", "_2"))
        shown += [
            {"row": f"{name}_{data_set}", **row, "rank": first.get(name), "rank_2": second.get(name)}
            for name, row in rows.items()
        ]
    columns = {"row": "", "rank": "d", "rank_2": "d", "frechet_distance": ".1f", "frechet_distance_2": ".1f"}
    columns |= dict.fromkeys(("clipped_density", "clipped_density_2", "clipped_coverage", "clipped_coverage_2"), ".2f")
    return records.markdown_table(shown, columns)


def stacked_table():
    """The modes of Stacked-MNIST as Markdown."""
    results = records.load_results("scoreboard_26000")
    columns = {"Stacked-MNIST": "", "num_images": "d", "num_seeds": "d", "modes_covered": ".0f", "mode_kl": ".3f"}
    names = sorted(results, key=lambda name: results[name]["mode_kl"])
    return seeds_table(
        [{"Stacked-MNIST": name.removesuffix("_stacked_mnist"), **results[name]} for name in names], columns
    )


def seeds_table(rows, columns):
    """Rows of a scoreboard as Markdown, with the number of their seeds."""
    return records.markdown_table([{**row, "num_seeds": len(row["seeds"])} for row in rows], columns)


def sampler_table():
    """The samplers of the DDPM over 20 passes, and its own over 200, on both data sets, as Markdown."""
    results, rows = [row for row in records.load_results("steps").values() if row["passes_per_image"] == 20], {}
    for data_set in evidence.STUDIED:
        (run,) = [run for run in evidence.recorded_rows(data_set)["ddpm"]["runs"] if run["seed"] == 0]
        results.append({**run, "data_set": data_set, "sampler": "as trained, 200 passes"})
    for row in results:
        shown = rows.setdefault(row["sampler"], {"sampler": row["sampler"]})
        shown |= {f"{score} {row['data_set']}": row[score] for score in SCORES}
    return records.markdown_table(list(rows.values()), {"sampler": ""} | _columns(SCORES))


def claims_table():
    """The claims and their verdicts as Markdown."""
    rows = [{"claim": f"{claim.name}: {claim.text}", "verdict": claim.row()["verdict"]} for claim in claims.CLAIMS]
    return records.markdown_table(rows, {"claim": "", "verdict": ""})


# File -> the name of the first column, by which `write` finds the table in it -> the table.
TABLES = {
    "README.md": {"family": headline_table},
    "RESULTS.md": {
        "model": results_table,
        "generator": passes_table,
        "row": evaluators_table,
        "sampler": sampler_table,
        "Stacked-MNIST": stacked_table,
        "claim": claims_table,
    },
}


def write():
    """Rewrites the tables of all files, or, if one of them is missing, none."""
    texts = {name: pathlib.Path(name).read_text() for name in TABLES}
    for name, tables in TABLES.items():
        for first, table in tables.items():
            texts[name], count = re.subn(rf"\| {first} \|.*?(?=\n\n)", table(), texts[name], flags=re.DOTALL)
            if count != 1:
                raise ValueError(f"{name} has {count} tables that begin with '| {first} |'; expected one.")
    texts["trilemma/weights/README.md"] = weights_table() + "\n"
    for name, text in texts.items():
        pathlib.Path(name).write_text(text)
