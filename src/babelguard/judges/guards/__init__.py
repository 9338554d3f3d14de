"""Judges that ask a guard model: one module per guard, and two ways to ask it."""
