"""Keeps the lines that TensorFlow writes at its start, whatever the log level, out of notebooks and terminals."""

import contextlib
import os
import re
import sys
import tempfile
import threading

# What TensorFlow 2.19 to 2.21 say on machines where nothing is wrong. 303 is the error of a machine without a driver.
_NOISE = re.compile(
    rb"All log messages before absl::InitializeLog\(\) is called"
    rb"|oneDNN custom operations are on"
    rb"|Could not find cuda drivers on your machine"
    rb"|failed call to cuInit: .*UNKNOWN ERROR \(303\)"
    rb"|Unable to register cu\w+ factory"
    rb"|computation placer already registered"
    rb"|This TensorFlow binary is optimized to use available CPU instructions"
    rb"|To enable the following instructions: "
    rb"|Compiled cluster using XLA!"
    rb"|XLA service \w+ initialized for platform"
    rb"|StreamExecutor device \(\d+\): "
    rb"|Created device \S+ with \d+ MB memory"
    rb"|Loaded cuDNN version"
)
_LOCK = threading.RLock()  # Two threads would each put back what the other had put in place.


@contextlib.contextmanager
def without_noise():
    """Holds back what the process writes to file descriptor 2; at the end all but the known noise is written there.

    Everything is written if the block raises, or if TF_CPP_MIN_LOG_LEVEL is "0" or "1", which asks for details. A
    process that is killed within the block takes the lines of that block with it; set the variable to see them.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        original = None
        # Without such a descriptor, or without room for the lines, nothing is held back.
        with contextlib.suppress(OSError):
            if os.environ.get("TF_CPP_MIN_LOG_LEVEL") not in ("0", "1"):
                held = stack.enter_context(tempfile.TemporaryFile())
                original = os.dup(2)
        if original is None:
            yield
            return
        _flush()
        os.dup2(held.fileno(), 2)
        keep_all = True
        try:
            yield
            keep_all = False
        finally:
            _flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            lines = [line for line in held if keep_all or not _NOISE.search(line)]
            with contextlib.suppress(OSError), open(2, "wb", closefd=False) as stream:  # its reader may be gone
                stream.writelines(lines)


def _flush():
    """Writes the lines that Python still keeps to the descriptor; there may be no stream, or a closed one."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sys.stderr.flush()
