"""Measures of a session's trading, from its tables, for people who trade.

`replay` reads the decisions and their outcome, `curve` values the account at the recorded prices, `returns`,
`round_trips` and `costs` hold the formulas, and `session` combines the figures of one session.
"""
