"""Attacks rewrite requests before they are sent, one file each; see `babelguard.attacks.base` for the contract."""

from babelguard.attacks.base import Attack, apply_attack

__all__ = ["Attack", "apply_attack"]
