"""What the daemon answered, as a value or as the exception that it stands for."""

from aiosd.domain.errors import InvalidError
from aiosd.domain.request import Outcome
from aiosd.protocol.messages import Answer, Chunk, End, Error, Reply, error_of


def body_of(answer: Answer) -> dict[str, object]:
    """Return the body of the answer to a verb.

    Raises:
        AiosdError: what the daemon said instead.
    """
    match answer:
        case Reply():
            return answer.body
        case Error():
            raise error_of(answer)
        case Chunk() | End():
            raise InvalidError(f"the daemon answered a verb with {type(answer).__name__}")


def outcome_of(answer: Answer) -> Outcome:
    """Return the end of a request that was answered.

    Raises:
        AiosdError: what the daemon said instead.
    """
    match answer:
        case End():
            return answer.outcome
        case Error():
            raise error_of(answer)
        case Chunk() | Reply():
            raise InvalidError(f"the daemon answered a request with {type(answer).__name__}")
