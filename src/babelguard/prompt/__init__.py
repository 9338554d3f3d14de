"""The safety prompt: its position in a chat template, its insertion into a model, and its files."""

from babelguard.prompt.safety_prompt import SafetyPrompt, unprotect

__all__ = ["SafetyPrompt", "unprotect"]
