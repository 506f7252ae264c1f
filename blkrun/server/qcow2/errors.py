"""What can be wrong with an image."""


class ImageError(Exception):
    """Metadata that cannot be used; ``str(error)`` is a sentence, without the image's name.

    When an image is opened the driver makes a CommandError of it, and EIO in a request.
    """
