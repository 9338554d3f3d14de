"""The method: anchors, safety space, losses, objective, training. See docs/method.md."""
