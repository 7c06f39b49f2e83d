"""Every error a user may meet: one sentence each, and the exit status of sysexits(3) that goes with it.

Below the command line nobody catches these and nobody logs and raises; the pipeline alone decides what is tried again.
"""

import os


class PopBeforeSmtpError(Exception):
    """The program cannot do what was asked; the message is one sentence for the administrator."""

    exit_status = os.EX_SOFTWARE


class UsageError(PopBeforeSmtpError):
    """The command line cannot be understood."""

    exit_status = os.EX_USAGE


class DataError(PopBeforeSmtpError):
    """A file holds something that it must not hold."""

    exit_status = os.EX_DATAERR


class UnavailableError(PopBeforeSmtpError):
    """A program, file or service that is needed is not there."""

    exit_status = os.EX_UNAVAILABLE


class CannotCreateError(PopBeforeSmtpError):
    """A file, folder or socket that we own cannot be made or written."""

    exit_status = os.EX_CANTCREAT


class NotPermittedError(PopBeforeSmtpError):
    """The system does not let us read or do something that we must."""

    exit_status = os.EX_NOPERM


class ConfigError(PopBeforeSmtpError):
    """The configuration cannot be used; the message names the file, the line, the setting and a way out."""

    exit_status = os.EX_CONFIG
