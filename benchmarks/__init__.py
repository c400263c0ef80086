"""Speed, as ratios to peers taken in one run."""
