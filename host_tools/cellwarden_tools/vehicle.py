"""A vehicle's files together: which of its images a log needs, that of its buses or that of its [table]."""

from .compiler import image as images
from .errors import InputError
from .readers import open_log


class Vehicle:
    """A profile, or an image file made of one. Raises InputError.

    table: what the reader of tables needs, or None; warnings: told so far, for the caller to take;
    made: {"table" in the image's names: Compiled} of what was compiled here
    """

    def __init__(self, path):
        self.path, self.warnings, self.made = path, [], {}
        if images.is_image(path):
            image = images.load_image(path)
            self.table = image.names.get("table")
        else:
            made = images.compile_profile(path)
            image, self.warnings, self.table = made.image, made.warnings, made.profile.table
            self.made[made.profile.is_table] = made
        self._images = {"table" in image.names: image}

    def image(self, of_table=None):
        """The image for tables or that for logs; None: whichever is there, of both that for logs. None without one."""
        if of_table is None:
            return self._images.get(False) or self._images[True]
        if of_table and of_table not in self._images and self.table is not None:
            self.made[True] = made = images.compile_profile(self.path, True)
            self._images[True] = made.image
            self.warnings += [text for text in made.warnings if text not in self.warnings]
        return self._images.get(of_table)

    def open(self, path, format=None, include_tx=False):
        """(Image, Log) of a log or a table. Raises InputError where the vehicle has no image for it."""
        log = open_log(path, format, include_tx, table=self.table)
        image = self.image(log.format == "table")
        if image is None:
            log.close()
            what = f"is a log of CAN frames ({log.format}), and {self.path} has only a [table]"
            raise InputError(path, what, "a recorded table", "add [[bus]] and [signals] to the profile")
        return image, log
