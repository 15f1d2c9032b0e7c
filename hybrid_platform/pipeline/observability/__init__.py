"""What a running session tells those outside: metrics, notices, its pulse, the flight recorder."""
