import numpy as np
import pytest
import scipy.stats

from trilemma.evaluation.hype import Game, play, wilson_interval


def images_of(value, count=400):
    """Images that carry their source and their number in their pixels."""
    images = np.full((count, 4, 4, 1), value, "float32")
    images[:, 0, 0, 0] = np.linspace(0, 1, count)
    return images


def new_game(rounds_per_model=200, **settings):
    return Game(images_of(0.9), {"vae": images_of(0.1), "ddpm": images_of(0.5)}, rounds_per_model, **settings)


@pytest.mark.parametrize("successes, total", [(0, 5), (5, 5), (3, 10), (40, 100), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_agrees_with_scipy(successes, total, confidence):
    expected = scipy.stats.binomtest(successes, total).proportion_ci(confidence, "wilson")
    assert wilson_interval(successes, total, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_half_of_the_rounds_are_real_and_no_image_comes_twice():
    game = new_game(20)
    sources = [source for source, _ in game.rounds]
    assert {source: sources.count(source) for source in set(sources)} == {"real": 40, "vae": 20, "ddpm": 20}
    assert len({(source, float(image[0, 0, 0])) for source, image in game.rounds}) == 80
    assert all(
        float(image[1, 1, 0]) == pytest.approx({"real": 0.9, "vae": 0.1, "ddpm": 0.5}[s]) for s, image in game.rounds
    )
    assert sources != sorted(sources, key=["real", "vae", "ddpm"].index)


def test_seed_repeats_the_game():
    games = [[source for source, _ in new_game(20, seed=seed).rounds] for seed in (1, 1, 2)]
    assert games[0] == games[1] != games[2]


def test_score_recovers_the_error_rates_of_a_simulated_player(random):
    rates = {"real": 0.1, "vae": 0.05, "ddpm": 0.4}
    game = new_game()
    play(game, lambda source, image: (source == "real") != (random.random() < rates[source]))
    rows = {row["source"]: row for row in game.scores()}
    assert list(rows) == ["real", *[name for name in rows if name != "real"]]
    for name, rate in rates.items():
        row = rows[name]
        assert row["num_images"] == (400 if name == "real" else 200)
        assert row["error_rate"] == row["errors"] / row["num_images"]
        assert row["low"] < rate < row["high"]
        assert row["high"] - row["low"] < 0.15


def test_player_who_always_says_real_errs_on_generated_images_only():
    game = new_game(10)
    play(game, lambda source, image: True)
    assert {row["source"]: row["error_rate"] for row in game.scores()} == {"real": 0, "vae": 1, "ddpm": 1}


def test_game_ends_after_its_last_image():
    game = new_game(1)
    play(game, lambda source, image: False)
    with pytest.raises(ValueError, match="all 4 images"):
        game.answer(True)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="vae has 3 images; 4 rounds"):
        Game(images_of(0.9), {"vae": images_of(0.1, 3)}, 4)


def test_nobody_has_erred_before_the_first_answer():
    assert new_game(1).scores() == [
        {"source": "real", "num_images": 0, "errors": 0, "error_rate": None, "low": 0.0, "high": 1.0}
    ]


def test_answers_are_taken_back_one_by_one():
    game = new_game(1)
    game.answer(True)
    game.answer(False)
    game.undo()
    assert game.answers == [True]
    game.undo()
    with pytest.raises(ValueError, match="no image has been judged"):
        game.undo()


def test_restart_is_a_new_game_of_the_next_seed():
    def drawn(game):
        return [(source, float(image[0, 0, 0])) for source, image in game.rounds]

    game = new_game(20, seed=1)
    for given, seed in ((None, 2), (None, 3), (1, 1)):
        game.answer(True)
        game.restart(given)
        assert game.answers == []
        assert game.seed == seed
        assert drawn(game) == drawn(new_game(20, seed=seed))
