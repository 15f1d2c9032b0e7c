"""Hostile strategies, each with one way out and the effect that shows whether it worked (I1).

* ``catalogue``: the list of all attacks and their effects.
* ``network``, ``descriptors``, ``kernel``, ``outside``: the attacks themselves.
* ``target``: the addresses, files and processes that an attack aims at.
* ``attacker``: the process that runs an attack, sandboxed or not.
* ``runner``: runs one attack under one isolation and judges it by its effect alone.

``python -m hybrid_platform_tests.sandbox.attacks`` prints the table for this host.
"""
