"""Who may do what: scopes, keys and their store, sessions, tokens of others, and the record of what was done."""
