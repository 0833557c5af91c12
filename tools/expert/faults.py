"""What a publisher's tool says when it cannot go on: one sentence, with the next step in it."""


class PublisherError(Exception):
    """The publisher must act; the message says how."""
