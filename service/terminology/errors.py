"""Why a terminology cannot be used, in one line."""


class TerminologyError(Exception):
    """The terminology cannot be read, built or opened; the message names file and line where there is one."""
