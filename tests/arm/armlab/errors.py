"""The one error of the lab: what is missing or failed, where, and the command that mends it."""


class LabError(Exception):
    """The emulated machine cannot be built or used; the message says what to do."""
