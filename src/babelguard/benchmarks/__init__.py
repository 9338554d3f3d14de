"""Benchmarks provide the requests of an evaluation, one file each; see `babelguard.benchmarks.base` for the contract."""

from babelguard.benchmarks.base import Benchmark

__all__ = ["Benchmark"]
