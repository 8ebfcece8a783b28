"""Is this machine fit? What ``azr doctor`` looks at."""
