"""What pynetdicom's requester needs before it asks."""

import time

PASS_S = 0.01


def rest(association):
    """Stops the reactor of an association that is about to ask something.

    Asking stops it too, but takes it to stand still when it has only just been let go on: then it
    goes round once more, and takes the response that came quickly for an unexpected one.
    """
    association._reactor_checkpoint.clear()
    time.sleep(PASS_S)
