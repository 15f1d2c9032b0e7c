"""Notifications of failures, overload, halts and recovery: messages, delivery queue, channels."""
