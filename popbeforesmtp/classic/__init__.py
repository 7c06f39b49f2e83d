"""The classic Perl daemon's place: its command line, its configuration read without running Perl, its words.

``perl`` cuts the configuration into statements, ``conf`` evaluates what it sets, ``meaning`` and ``matching`` say what
that comes to (``plan``), ``toml`` writes it as our own configuration, and ``run`` reads just that. So the daemon that
is started with the classic's flags and the one that is started with what ``migrate`` wrote are the same.
"""
