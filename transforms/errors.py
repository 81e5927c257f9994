"""The errors a user can cause, and nothing else.

Each carries one clear sentence that names the thing, the value, the rule, where it happened and the cure.
The command line prints the sentence and exits non-zero; the Dagster UI shows it as the failure's description.
"""


class PostPaiError(Exception):
    """Something a user can put right; ``str(error)`` is the sentence to show."""


class ControlError(PostPaiError):
    """The control points cannot support what was asked of them."""


class FieldError(PostPaiError):
    """A fitted shift field cannot be read, applied or exported as asked."""


class SettingsError(PostPaiError):
    """``migration.yaml`` or an option says something impossible."""


class BusyError(PostPaiError):
    """Somebody else is at work on the same."""


class SourceError(PostPaiError):
    """A source layer or control file cannot be used as it stands."""


class ReviewError(PostPaiError):
    """What an officer saved cannot be taken as it stands."""


class LedgerError(PostPaiError):
    """The same data would be shifted twice."""


class ExportError(PostPaiError):
    """A layer cannot be written in the format or to the place asked for."""


class LogError(PostPaiError):
    """A log of decisions or shifts was damaged."""


class VerifyError(PostPaiError):
    """What was exported, signed or logged is no longer as it was."""
