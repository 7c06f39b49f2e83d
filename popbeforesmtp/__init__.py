"""pop-before-smtp: a client address that logged in to the POP or IMAP server may relay mail for a while."""

__version__ = "0.1.0"
