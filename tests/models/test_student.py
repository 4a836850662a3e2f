import keras
import numpy as np
import pytest

from trilemma.diffusion import schedules
from trilemma.models.ddpm import DDPM
from trilemma.models.student import Student, ddim_step, images_of_step

TINY = dict(image_shape=(8, 8, 1), num_timesteps=20, widths=(8,), seed=0)
DEVIATION = 0.1


def tiny_student():
    return Student(most_steps=4, **TINY)


def trained_like(model, random):
    """A DDPM with weights that make its output depend on everything."""
    for network in (model.network, model.ema_network):
        network.set_weights([0.1 * random.standard_normal(weight.shape) for weight in network.get_weights()])
    return model


def images_of_gaussian(random, num_images=64):
    """Images whose pixels, scaled to [-1, 1], are independent draws of N(0, DEVIATION^2)."""
    return ((1 + DEVIATION * random.standard_normal((num_images, 8, 8, 1))) / 2).astype("float32")


def best_images(schedule, noisy_images, timestep):
    """E[x_0 | x_t] of the Gaussian images: a factor."""
    signal, noise = schedule.signal_rates[timestep], schedule.noise_rates[timestep]
    return signal * DEVIATION**2 / (signal**2 * DEVIATION**2 + noise**2) * noisy_images


def gaussian_teacher(schedule, noisy_images, timesteps):
    """The noise predictor that a perfectly trained DDPM would be."""
    noisy_images, output = np.asarray(noisy_images), []
    for image, t in zip(noisy_images, np.asarray(timesteps), strict=True):
        clean = best_images(schedule, image, t)
        output.append((image - schedule.signal_rates[t] * clean) / schedule.noise_rates[t])
    return np.array(output, "float32")


def gaussian_student(schedule, stops):
    """The velocity network of a perfect student: it jumps to where the teacher's steps, taken one by one, lead."""

    def network(inputs, training):
        output = []
        for image, t, s in zip(*map(np.asarray, inputs), strict=True):
            reached, now = image, t
            while now > s:
                then = max(stop for stop in stops if stop < now)
                clean = best_images(schedule, reached, now)
                noise = (reached - schedule.signal_rates[now] * clean) / schedule.noise_rates[now]
                reached, now = schedule.signal_rates[then] * clean + schedule.noise_rates[then] * noise, then
            ratio = schedule.noise_rates[s] / schedule.noise_rates[t]
            clean = (reached - ratio * image) / (schedule.signal_rates[s] - ratio * schedule.signal_rates[t])
            noise = (image - schedule.signal_rates[t] * clean) / schedule.noise_rates[t]
            output.append(schedule.signal_rates[t] * noise - schedule.noise_rates[t] * clean)
        return np.array(output, "float32")

    return network


@pytest.fixture
def gaussian(random):
    """A student and a teacher that know everything about Gaussian images."""
    student = tiny_student()
    student._teacher = lambda x, t: gaussian_teacher(student.schedule, x, t)
    # ceil(20 i / 8), where the teacher's eight steps start and end.
    oracle = gaussian_student(student.schedule, [0, 3, 5, 8, 10, 13, 15, 18, 20])
    student.network = student.ema_network = oracle
    return student


@pytest.mark.parametrize("num_images", [1, 2, 7, 64])
def test_perfect_student_has_no_loss(gaussian, random, num_images):
    assert float(gaussian.compute_losses(images_of_gaussian(random, num_images), None, training=True)["loss"]) < 1e-8


def test_student_that_does_not_look_where_it_goes_has_a_loss(gaussian, random):
    perfect = gaussian.network
    gaussian.network = lambda inputs, training: perfect([inputs[0], inputs[1], 0 * np.asarray(inputs[1])], training)
    assert float(gaussian.compute_losses(images_of_gaussian(random), None, training=True)["loss"]) > 1e-4


def test_targets_come_from_the_teacher_for_an_eighth_and_from_the_average_for_the_others(gaussian, random):
    asked = {"teacher": [], "average": [], "student": []}

    def watched(name, function):
        def watching(*arguments, **named):
            images, timesteps = arguments[0][:2] if name != "teacher" else arguments
            asked[name].append((len(images), set(np.asarray(timesteps).tolist())))
            return function(*arguments, **named)

        return watching

    gaussian._teacher = watched("teacher", gaussian._teacher)
    gaussian.network, gaussian.ema_network = (watched(name, gaussian.network) for name in ("student", "average"))
    gaussian.compute_losses(images_of_gaussian(random, 80), None, training=True)
    assert [count for count, _ in asked["teacher"]] == [10, 10]
    assert [count for count, _ in asked["average"]] == [70, 70]
    assert [count for count, _ in asked["student"]] == [80]
    assert asked["teacher"][0][1] <= {5, 10, 15, 20}
    assert asked["average"][0][1] <= {10, 20}


def test_targets_are_clipped_as_the_sampler_clips(gaussian, random):
    """A teacher and an average that always see x_0 = 3 teach x_0 = 1."""
    schedule = gaussian.schedule

    def noise_for(value, noisy_images, timesteps):
        return schedules.noise_from_images(schedule, noisy_images, timesteps, value * keras.ops.ones_like(noisy_images))

    def velocity_for(value, inputs):
        noise = noise_for(value, *inputs[:2])
        return schedules.velocity(schedule, value * keras.ops.ones_like(noise), inputs[1], noise)

    gaussian._teacher = lambda noisy_images, timesteps: noise_for(3.0, noisy_images, timesteps)
    gaussian.ema_network = lambda inputs, training: velocity_for(3.0, inputs)
    gaussian.network = lambda inputs, training: velocity_for(1.0, inputs)
    assert float(gaussian.compute_losses(images_of_gaussian(random), None, training=True)["loss"]) < 1e-4


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_perfect_student_draws_the_same_images_in_any_number_of_steps(gaussian, num_steps, random):
    noise = random.standard_normal((5, 8, 8, 1)).astype("float32")

    def draw(steps):
        return np.asarray(gaussian.use_sampler(steps).sample(lambda draw, shape: noise))

    np.testing.assert_allclose(draw(num_steps), draw(4), atol=2e-3)


def test_steps_are_two_halves_between_stops_and_the_taught_ones_are_shortest():
    student = tiny_student()
    start, halfway, end = (np.asarray(each) for each in student._draw_steps(1000, 5000))
    stops = [0, 3, 5, 8, 10, 13, 15, 18, 20]
    places = [[stops.index(stop) for stop in each] for each in (start, halfway, end)]
    lengths = np.subtract(places[0], places[2])
    np.testing.assert_array_equal(2 * np.subtract(places[0], places[1]), lengths)
    assert set(lengths[:1000]) == {2}
    values, counts = np.unique(lengths[1000:], return_counts=True)
    assert list(values) == [4, 8]
    np.testing.assert_allclose(counts / 4000, [1 / 4, 3 / 4], atol=0.05)
    values, counts = np.unique(start[:1000], return_counts=True)
    assert list(values) == [5, 10, 15, 20]
    np.testing.assert_allclose(counts / 1000, 1 / 4, atol=0.06)


def test_student_starts_as_its_teacher(random):
    teacher = trained_like(DDPM(**TINY), random)
    student = tiny_student().learn_from(teacher)
    x, t = random.standard_normal((3, 8, 8, 1)).astype("float32"), np.array([20, 7, 2])
    expected = np.asarray(teacher([x, t]))
    for destinations in ([0, 0, 0], [10, 3, 1]):
        np.testing.assert_allclose(student([x, t, np.array(destinations)]), expected, atol=1e-5)


@pytest.mark.slow
def test_training_moves_one_step_towards_two_and_leaves_the_teacher_alone(random):
    # Untrained, it predicts no velocity: a smooth way, along which long steps differ from short ones.
    teacher = DDPM(**TINY)
    before = [weight.copy() for weight in teacher.ema_network.get_weights()]
    student = tiny_student().learn_from(teacher)
    student.compile(keras.optimizers.Adam(2e-3))
    images = images_of_gaussian(random)

    def loss():
        student.seed_generator.state.assign([0, 0])
        return float(student.compute_losses(images, None, training=False)["loss"])

    first = loss()
    student.fit(images, batch_size=64, epochs=60, verbose=0)
    assert loss() < 0.9 * first
    for weight, old in zip(teacher.ema_network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_saved_student_draws_the_same_images_without_its_teacher(tmp_path, random):
    student = tiny_student().learn_from(trained_like(DDPM(**TINY), random))
    assert len(student.weights) == len(tiny_student().weights)
    student.save(tmp_path / "student.keras")
    loaded = keras.saving.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(loaded.generate(2, seed=1), student.generate(2, seed=1), atol=1e-5)


def test_passes_follow_the_number_of_steps():
    student = tiny_student()
    assert student.passes_per_image == 4
    assert student.use_sampler(1).passes_per_image == 1
    assert student.generate(2, seed=0).shape == (2, 8, 8, 1)


def test_mistakes_are_named(random):
    with pytest.raises(ValueError, match="most_steps is 12; expected a power of two"):
        Student(most_steps=12)
    student = tiny_student()
    for num_steps, kind in [
        (0, "whole number in"),
        (8, "whole number in"),
        (2.5, "whole number in"),
        (3, "power of two,"),
    ]:
        with pytest.raises(ValueError, match=f"num_steps is {num_steps}; expected a {kind} 1 ... 4"):
            student.use_sampler(num_steps)
    with pytest.raises(
        ValueError, match='prediction is "?\'?noise.*a student always predicts the "velocity". Leave it out'
    ):
        Student(prediction="noise")
    with pytest.raises(ValueError, match="num_classes is 3; a student has no classes. Leave it out"):
        Student(num_classes=3)
    with pytest.raises(ValueError, match=r"call learn_from\(teacher\)"):
        tiny_student().compute_losses(images_of_gaussian(random), None, training=True)
    with pytest.raises(
        ValueError, match=r"teacher has {'schedule': 'linear'}; the student needs {'schedule': 'cosine'}"
    ):
        tiny_student().learn_from(DDPM(schedule="linear", **TINY))
    with pytest.raises(ValueError, match="'prediction': 'noise'"):
        tiny_student().learn_from(DDPM(prediction="noise", **TINY))


def test_images_of_step_undoes_ddim_step(random):
    schedule = schedules.cosine_schedule(20)
    images, noisy_images = random.standard_normal((2, 4, 3, 3, 1)).astype("float32")
    timesteps, destinations = np.array([20, 12, 5, 1]), np.array([10, 11, 0, 0])
    reached = ddim_step(schedule, images, noisy_images, timesteps, destinations)
    for row, (t, s) in enumerate(zip(timesteps, destinations, strict=True)):
        noise = (noisy_images[row] - schedule.signal_rates[t] * images[row]) / schedule.noise_rates[t]
        expected = schedule.signal_rates[s] * images[row] + schedule.noise_rates[s] * noise
        np.testing.assert_allclose(reached[row], expected, rtol=1e-4, atol=1e-5)
    solved = images_of_step(schedule, reached, noisy_images, timesteps, destinations)
    np.testing.assert_allclose(solved, images, rtol=1e-3, atol=1e-3)
