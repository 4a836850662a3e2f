"""The rows of results/scoreboard_<number of images>.json: what can be scored, and how runs of several seeds join."""

import dataclasses
from collections.abc import Callable

from trilemma import records
from trilemma.data import DATA_SETS, SAMPLE_DIR, all_images
from trilemma.evaluation import evaluators, scoreboard
from trilemma.training import pretrained, recipes


@dataclasses.dataclass(frozen=True)
class Row:
    """A model, or a bound of the scoreboard.

    Attributes:
        name: key in the file.
        data_set: name of the data set.
        bound: function of `scoreboard.BOUNDS`; None for a model.
        recipe: recipes.Recipe of a model; None for a bound.
    """

    name: str
    data_set: str
    bound: Callable | None = None
    recipe: recipes.Recipe | None = None

    def scored_by_default(self):
        """Whether it is scored when none is named: its evaluator is trained and, unlike modes, takes few images."""
        data_set = DATA_SETS[self.data_set]
        return evaluators.is_trained(data_set) and data_set.evaluator == "features"

    def score(self, num_images, seed, sample=False):
        """Scores one seed, and adds the run to the file.

        One file per number of images, since scores at different numbers must not be compared. A row keeps its runs with
        other seeds, so that a long scoring can be done seed by seed, but only those of the same weights, sampler, noise
        and images. The machines may differ; every run names its own.

        Args:
            num_images: see `scoreboard.score`.
            seed: for images, or for the choice of real ones.
            sample: let a bound draw from the sample that ships, as its row then says.

        Returns:
            dict, the run.

        Raises:
            ValueError: only the sample is at hand; and as `scoreboard.score`.
        """
        origin = self._origin(sample)
        if self.recipe is None:
            with all_images():
                run = self.bound(self.data_set, num_images, seed, SAMPLE_DIR if sample else None)
        else:
            model = pretrained.load_pretrained(self.name)
            run = scoreboard.score(model, self.data_set, num_images, seed, progress=True)
            del run["images_per_second"]  # It differs by machine; benchmarks/speed.py measures all on one.
        run |= records.environment()

        def change(known):
            row = known.get(self.name, {"runs": []})
            keeps = all(row.get(key) == value for key, value in origin.items())
            runs = {each["seed"]: each for each in row["runs"] if keeps}
            runs = [each for _, each in sorted({**runs, seed: run}.items())]
            words = " ".join(str(each["seed"]) for each in runs) + (" --sample" if origin["images"] != "all" else "")
            row = {
                **scoreboard.summarise(runs),
                "data_set": self.data_set,
                **origin,
                "training_minutes": training_minutes(self.recipe),
                "runs": runs,
                "command": f"python -m trilemma score {self.name} --num-images {num_images} --seeds {words}",
            }
            return {**known, self.name: row}

        records.change_results(f"scoreboard_{num_images}", change)
        return run

    def _origin(self, sample):
        """What runs of one row have in common."""
        index, recipe = pretrained.pretrained_index(), self.recipe
        weights = [] if recipe is None else recipe.weights_files
        needed = [*evaluators.evaluator_of(self.data_set).weights, *weights]
        return {
            "files_sha256": {file: index[file]["sha256"] for file in needed},
            "sampler": None if recipe is None or recipe.weights is None else recipe.arguments["sampler"],
            "noise": None if recipe is None else scoreboard.NOISE,
            "images": "the sample that ships" if sample and recipe is None else "all",
        }


def known_rows():
    """Name -> Row, of every bound and of every model whose weights are there."""
    bounds = [
        Row(f"{kind}_{data_set}", data_set, bound=bound)
        for data_set in DATA_SETS
        for kind, bound in scoreboard.BOUNDS.items()
    ]
    models = [recipes.get_recipe(name) for name in pretrained.list_pretrained()]
    drawn = [Row(recipe.name, recipe.data_set, recipe=recipe) for recipe in models if recipe.draws]
    return {row.name: row for row in [*bounds, *drawn]}


def training_minutes(recipe):
    """Device -> minutes that went into weights, their teacher's included; None for the bounding rows."""
    if recipe is None:
        return None
    minutes = dict(pretrained.pretrained_index()[recipe.weights_name]["minutes"])
    if recipe.teacher is not None:
        for name, value in training_minutes(recipes.get_recipe(recipe.teacher_name)).items():
            minutes[name] = minutes.get(name, 0) + value
    return minutes
