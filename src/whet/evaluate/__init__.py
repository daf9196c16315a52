"""What ``whet evaluate`` does: suites, baselines, scores."""
