"""Evaluate defences: generate and judge replies, compute error rates with confidence intervals, compare defences."""
