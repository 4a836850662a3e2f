import os
import pathlib
import subprocess
import sys
import threading

import nbclient
import nbformat
import pytest

from trilemma import messages
from trilemma.backend import tensorflow_backend

ROOT = pathlib.Path(__file__).parent.parent
# What TensorFlow 2.20 and 2.21 wrote on a machine without a GPU, at import, at the first use of a device, at XLA's.
NOISE = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795777299.206898   15396 port.cc:153] oneDNN custom operations are on. You may see slightly different \
numerical results due to floating-point round-off errors from different computation orders. To turn them off, set the \
environment variable `TF_ENABLE_ONEDNN_OPTS=0`.
I0000 00:00:1795777299.207215   15396 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be \
used.
E0000 00:00:1795777304.277841   15396 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to \
cuInit: UNKNOWN ERROR (303)
2026-11-27 11:01:49.915316: E external/local_xla/xla/stream_executor/cuda/cuda_platform.cc:51] failed call to cuInit: \
INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)
I0000 00:00:1795777310.161555   15425 device_compiler.h:196] Compiled cluster using XLA!  This line is logged at most \
once for the lifetime of the process.
"""
NEWS = """\
E0000 00:00:1795777304.277841   15396 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to \
cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
W0000 00:00:1795777304.277841   15396 gpu_device.cc:2342] Cannot dlopen some GPU libraries.
a warning of Python
"""


@pytest.fixture
def stderr(monkeypatch, capfd):
    """What has arrived at file descriptor 2; the log level is that of the package, not that of the tests."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    return lambda: capfd.readouterr().err


def write(text):
    os.write(2, text.encode())


def test_the_noise_is_dropped_and_all_else_arrives_at_the_end(stderr):
    with messages.without_noise():
        write(NOISE + NEWS)
        print("from Python", file=sys.stderr)
        write("no end of line")
        assert stderr() in ("", "from Python\n")  # pytest takes Python's stream before the descriptor
    rest = stderr()
    assert rest.startswith(NEWS)
    assert rest.endswith("no end of line")
    assert "oneDNN" not in rest
    write(NOISE)
    assert stderr() == NOISE


def test_python_lines_keep_their_place_among_the_others():
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import importlib.util
spec = importlib.util.spec_from_file_location("messages", {messages.__file__!r})
messages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(messages)
sys.stderr.write("1 ")
with messages.without_noise():
    sys.stderr.write("2 ")
    sys.stderr.flush()
    os.write(2, b"3 ")
    sys.stderr.write("4 ")
sys.stderr.write("5")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "1 2 3 4 5")


def test_everything_is_shown_if_the_block_raises(stderr):
    with pytest.raises(ImportError, match="no such library"), messages.without_noise():
        write(NOISE + NEWS)
        raise ImportError("no such library")
    assert stderr() == NOISE + NEWS
    write("after")
    assert stderr() == "after"


@pytest.mark.parametrize("level", ["0", "1"])
def test_who_asks_for_details_gets_them_at_once(stderr, monkeypatch, level):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    with messages.without_noise():
        write(NOISE)
        assert stderr() == NOISE


def test_no_descriptor_is_left_open(stderr):
    before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else pytest.skip("needs /proc")
    for _ in range(3):
        with messages.without_noise(), messages.without_noise():
            write(NOISE)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_threads_wait_for_each_other(stderr):
    inside, leave = threading.Event(), threading.Event()

    def first():
        with messages.without_noise():
            inside.set()
            leave.wait(10)

    def second():
        with messages.without_noise():
            pass

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    threads[1].join(0.1)
    assert threads[1].is_alive()
    leave.set()
    for thread in threads:
        thread.join(10)
    write("after")
    assert stderr() == "after"


def test_without_room_for_the_lines_they_are_shown(stderr, monkeypatch):
    def fail():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(messages.tempfile, "TemporaryFile", fail)
    with messages.without_noise():
        write(NOISE)
    assert stderr() == NOISE


def test_without_a_descriptor_the_block_runs():
    code = f"""
import os, runpy
os.close(2)
with runpy.run_path({messages.__file__!r})["without_noise"]():
    print("ran")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "ran\n")


def fresh_environment():
    """The environment of a person's shell: pytest's own name keeps Jupyter from showing descriptor 2."""
    tests_own = ("PYTEST_CURRENT_TEST", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND")
    return {key: value for key, value in os.environ.items() if key not in tests_own}


def execute(monkeypatch, *cells):
    """Runs cells in a kernel of their own; returns what they wrote to stderr."""
    for name in set(os.environ) - set(fresh_environment()):
        monkeypatch.delenv(name)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    return [output.text for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]


def test_a_notebook_shows_what_is_written_to_the_descriptor(monkeypatch):
    """Otherwise the next test would see nothing whatever TensorFlow wrote."""
    assert execute(monkeypatch, "import os\nnumber = os.write(2, b'seen')") == ["seen"]


@pytest.mark.slow
def test_a_notebook_that_imports_sets_up_and_generates_has_no_red_box(monkeypatch):
    generate = (
        "device.describe_device(device.setup_device())\nimages = trilemma.load_pretrained('vae_mnist').generate(2)"
    )
    assert execute(monkeypatch, "import trilemma\nfrom trilemma import device", generate) == []


@pytest.mark.slow
def test_a_gpu_is_used_once_where_the_lines_of_its_first_use_are_dropped():
    """On a CPU, which XLA serves too: afterwards it has nothing more to say."""
    code = """
import trilemma
import tensorflow as tf
from trilemma.backend import tensorflow_backend
tensorflow_backend.list_devices()
with trilemma.messages.without_noise():
    tensorflow_backend._use_first("CPU:0")
tf.function(lambda x: x @ x, jit_compile=True)(tf.ones((2, 2)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=fresh_environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_gpus_take_memory_as_they_need_it_from_before_their_first_use(monkeypatch):
    """TensorFlow refuses the setting as soon as the logical devices are listed."""
    calls, config = [], tensorflow_backend.tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["a GPU"])
    monkeypatch.setattr(config.experimental, "set_memory_growth", lambda *setting: calls.append(setting))
    monkeypatch.setattr(config, "list_logical_devices", lambda: calls.append("listed") or [])
    tensorflow_backend.list_devices()
    assert calls == [("a GPU", True), "listed"]


def test_only_gpus_are_used_before_they_are_needed(monkeypatch):
    used = []
    monkeypatch.setattr(tensorflow_backend, "_use_first", used.append)
    monkeypatch.setattr(tensorflow_backend.tf.distribute, "OneDeviceStrategy", str)
    monkeypatch.setattr(tensorflow_backend, "_mirrored_strategy", str)
    tensorflow_backend.make_strategy(["CPU:0"])
    assert used == []
    tensorflow_backend.make_strategy(["GPU:1"])
    tensorflow_backend.make_strategy(["GPU:0", "GPU:1"])
    assert used == ["GPU:1", "GPU:0", "GPU:1"]
