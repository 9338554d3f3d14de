"""Translate files of prompts: engines, checks of what they made, the review by a person, and the job."""
