"""Attacks rewrite requests before they are asked, one file each; see `babelguard.attacks.base` for the contract."""

from babelguard.attacks.base import Attack, attacked

__all__ = ["Attack", "attacked"]
