"""Benchmarks, run by hand; README.md says what they compare.

::

    python -m benchmarks.overhead
    python -m benchmarks.latency
"""
