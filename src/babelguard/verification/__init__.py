"""Compare an exported model, as it is served, with its base model and safety prompt in this process.

`checks.py` says what is compared, and `served.py` what a served model must be able to do.
"""
