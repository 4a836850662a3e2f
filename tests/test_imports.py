import ast
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# A module imports only what has a smaller number, or lies in its own folder.
RANKS = {
    "device": 1, "backend": 0, "noise": 0, "files": 0, "messages": -1, "records": 2, "data": 2, "diffusion": 3,
    "models": 4, "training": 5, "evaluation": 6, "plotting": 7, "widgets": 8, "__main__": 9, "__init__": 9,
}  # fmt: skip


def module_files():
    files = {}
    for package in ("trilemma", "study"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)] = path
    return files


FILES = module_files()


def imported_names(path):
    """Every name that a file imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(module):
    """The modules of this repository that a module imports by name."""
    found = set()
    for name in imported_names(FILES[module]):
        known = [".".join(name.split(".")[:length]) for length in range(len(name.split(".")), 0, -1)]
        found |= set([each for each in known if each in FILES][:1])
    return found - {module}


def role_of(module):
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("trilemma.")])
def test_every_module_imports_only_roles_before_its_own(module):
    for other in imported_modules(module):
        assert other.startswith("trilemma."), f"{module} imports {other}"
        same = role_of(other) == role_of(module)
        assert same or RANKS[role_of(other)] < RANKS[role_of(module)], f"{module} imports {other}"


def test_every_role_has_its_place():
    assert {role_of(name) for name in FILES if name.startswith("trilemma.")} == set(RANKS)


def test_the_parser_of_imports_sees_what_there_is():
    assert {"trilemma.files", "trilemma.data.folders", "trilemma.data.batches"} <= imported_modules(
        "trilemma.data.datasets"
    )
    assert "trilemma.models.vae" in imported_modules("trilemma.training.recipes")
    assert "trilemma.records" in imported_modules("study.evidence")


def test_no_circle():
    graph, done = {module: imported_modules(module) for module in FILES}, set()
    while len(done) < len(graph):
        ready = {module for module, needed in graph.items() if module not in done and needed <= done}
        assert ready, f"a circle among {sorted(graph.keys() - done)}"
        done |= ready


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("trilemma.models")])
def test_models_know_nothing_of_trainings_evaluations_and_the_study(module):
    roles = {name.split(".")[1] for name in imported_modules(module) if name.startswith("trilemma.")}
    assert not roles & {"training", "evaluation", "records", "plotting", "widgets", "__main__"}


def test_the_package_never_imports_the_study():
    for module, path in FILES.items():
        if module.startswith("trilemma"):
            assert not [name for name in imported_names(path) if name.split(".")[0] in ("study", "benchmarks", "tests")]


@pytest.mark.parametrize(("library", "home"), [("tensorflow", "tensorflow_backend"), ("jax", "jax_backend")])
def test_only_its_backend_imports_a_library(library, home):
    users = {name for name, path in FILES.items() if library in {each.split(".")[0] for each in imported_names(path)}}
    assert users == {f"trilemma.backend.{home}"}


def import_trilemma(tmp_path, before="", keras_json=None, **environment):
    """Imports the package in a process of its own; returns its error and the libraries that it had loaded by then."""
    (tmp_path / "keras.json").write_text(json.dumps(keras_json or {}))
    code = f"""
import sys
{before}
try:
    import trilemma
except Exception as error:
    print(type(error).__name__, error)
else:
    print("imported")
print([name for name in ("tensorflow", "jax", "keras") if name in sys.modules])
"""
    kept = {key: value for key, value in os.environ.items() if key not in ("KERAS_BACKEND", "KERAS_HOME")}
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, env={**kept, "KERAS_HOME": str(tmp_path), **environment}, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *message, loaded = done.stdout.splitlines()
    return " ".join(message), ast.literal_eval(loaded)


@pytest.mark.parametrize("name", ["torch", "nonsense", "openvino", "numpy"])
def test_a_backend_that_does_not_exist_here_is_refused_before_anything_is_loaded(tmp_path, name):
    message, loaded = import_trilemma(tmp_path, KERAS_BACKEND=name)
    assert message.startswith(f"ImportError KERAS_BACKEND is {name!r}; expected one of ('tensorflow', 'jax')")
    assert "Set KERAS_BACKEND before Keras is imported, or install the backend." in message
    assert loaded == []


# JAX loads faster than TensorFlow; what is tested is the same.
with_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")


@with_jax
@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("image_data_format", "channels_first", "channels_last"),
        ("floatx", "float16", "float32"),
        ("floatx", "float64", "float32"),
    ],
)
def test_another_configuration_of_keras_is_refused_with_its_remedy(tmp_path, name, value, needed):
    message, loaded = import_trilemma(tmp_path, keras_json={name: value}, KERAS_BACKEND="jax")
    assert message.startswith(f"ImportError Keras is configured with {name} {value!r}; trilemma needs {needed!r}.")
    assert "keras.json" in message
    assert "KERAS_HOME" in message
    assert ("device.setup_device" in message) == (name == "floatx")
    assert "tensorflow" not in loaded


@with_jax
def test_keras_that_was_imported_with_another_backend_is_refused(tmp_path):
    message, loaded = import_trilemma(
        tmp_path, "import keras; keras.config.backend = keras.backend.backend = lambda: 'torch'", KERAS_BACKEND="jax"
    )
    assert message.startswith("ImportError Keras runs on the backend 'torch'; trilemma needs one of")
    assert "KERAS_BACKEND=tensorflow before Keras is imported" in message


@with_jax
def test_jax_is_enough(tmp_path):
    message, loaded = import_trilemma(tmp_path, KERAS_BACKEND="jax")
    assert (message, loaded) == ("imported", ["jax", "keras"])


@with_jax
def test_a_backend_in_keras_json_does_not_count(tmp_path):
    """It would need TensorFlow or PyTorch; the environment variable decides, and tensorflow is the default."""
    before = "import importlib.util; find = importlib.util.find_spec\n"
    before += "importlib.util.find_spec = lambda name, *rest: None if name == 'tensorflow' else find(name, *rest)"
    message, loaded = import_trilemma(tmp_path, before, keras_json={"backend": "torch"})
    assert (message, loaded) == ("imported", ["jax", "keras"])
