"""Rogue strategies, each a way out, with the effect that shows whether it worked (I1).

`catalogue` lists them, `stand` runs one under an isolation and judges it by its effect alone,
``python -m hybrid_platform_tests.sandbox.attacks`` prints the table for this host.
"""
