"""hybrid_platform: prove that a trading strategy is safe before it touches money.

The rooms, and who may import whom, are drawn in ``docs/architecture.md``.
"""

__version__ = "0.1.0"
