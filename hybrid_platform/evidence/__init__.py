"""Evidence: what a session leaves behind for somebody who does not trust us."""
