"""Load chat models, identify them, and measure the properties that the method depends on."""
