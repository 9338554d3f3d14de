"""Loading a frozen chat model: the embedded ones, a local folder, or a hub id."""
