"""The stages of a migration: the only package that knows Dagster and disk."""

import os

# Our matrices are small and many, and the cores are busy with layers: threads inside each would only wait for one
# another (measured: ten times slower with several runs on two cores). Must be set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
