"""Errors that a user of the bundle can correct."""


class BundleError(ValueError):
    """A value or a file that the bundle cannot use, in one line.

    Attributes:
        where: file, option or id.
        what: what is wrong there.
        remedy: what to do about it; empty where ``what`` says it already.
    """

    def __init__(self, where: object, what: object, remedy: object = "") -> None:
        self.where, self.what, self.remedy = str(where), str(what), str(remedy)
        super().__init__(self.where, self.what, self.remedy)

    def __str__(self) -> str:
        """Return the whole line."""
        return f"{self.where}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")
