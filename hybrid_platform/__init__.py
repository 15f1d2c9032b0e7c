"""hybrid_platform: prove that a trading strategy is safe before it touches money.

The rooms and their permitted imports are drawn in ``docs/architecture.md``.
"""

__version__ = "0.1.0"
