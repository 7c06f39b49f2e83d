"""A fault bench for following: what becomes of logins when logs move, daemons die and clocks jump."""
