"""What was measured: counts with intervals, paired differences, tables and the picture of the outcomes."""
