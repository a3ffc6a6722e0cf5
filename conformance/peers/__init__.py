"""What the suites share: a server of their own, foreign clients, and the counting of checks."""
