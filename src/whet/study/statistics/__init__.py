"""From ratings to numbers with intervals, and studies tried out on simulated raters."""
