"""nbval settings: TensorFlow's and tqdm's messages on stderr differ from machine to machine and are not compared."""


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
