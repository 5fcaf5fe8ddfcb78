"""See `build`."""
