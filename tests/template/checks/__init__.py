"""The checks of the expanded template, by topic. A check is a function whose name begins with `check_`; an AssertionError is
its failure."""
