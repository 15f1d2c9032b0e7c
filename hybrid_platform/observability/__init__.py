"""What an operator watches: metrics, liveness, notifications, the flight recorder's interval, systemd."""
