"""One file per family of models, and the contract that all keep."""
