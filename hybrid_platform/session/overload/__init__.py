"""Overload control: host and queue monitoring, the throttle ladder, sampling, the watchdog."""
