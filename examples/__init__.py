"""Examples that the README and the tests run."""
