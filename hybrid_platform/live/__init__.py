"""Everything about LIVE: the gate, its conditions, authorization, the order guard, the execution stage."""
