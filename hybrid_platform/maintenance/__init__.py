"""What keeps the database usable between and around sessions: lease, reserve, retention, restore, lost rows."""
