"""Compare languages in a model's hidden states: separability, correlation of attacks, choice of training languages."""
