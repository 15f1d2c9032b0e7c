"""What a session's trading was worth: measures from its tables, for people who trade.

`tape` reads what was decided, `curve` values it at the prices that came, `returns`, `round_trips` and
`execution` are the formulas, each a small module; `session` puts one session's figures together.
"""
