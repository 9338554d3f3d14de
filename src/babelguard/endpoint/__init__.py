"""Requests to OpenAI-compatible endpoints: addresses and keys, failures, retries, and parallel requests."""

from babelguard.endpoint.client import Client, Names
from babelguard.endpoint.failures import RequestFailed
from babelguard.endpoint.pool import run_all
from babelguard.endpoint.waiting import Retry

__all__ = ["Client", "Names", "RequestFailed", "Retry", "run_all"]
