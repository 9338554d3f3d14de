"""Translate files of prompts: engines, checks of the translations, the review file, and the job."""
