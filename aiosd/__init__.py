"""aiosd: swappable expert models on small Linux boards, under RAM and power caps.

The map: one request, nine steps, each in one file. A test checks that every step exists.

1. `aiosd/daemon/wire/frontend.py`: a message arrives on the ZeroMQ socket
2. `aiosd/protocol/codec.py`: its frames become a typed request, or a typed error
3. `aiosd/policy/routing/router.py`: which expert answers
4. `aiosd/policy/memory/governor.py`: whether it fits the caps, and who must leave
5. `aiosd/policy/serving/scheduler.py`: when it runs; decisions as effects
6. `aiosd/daemon/broker.py`: carries the effects out
7. `aiosd/daemon/workers/crew.py`: hands the request to the expert's worker process
8. `aiosd/worker/main.py`: input → pipeline → engine → pipeline → answer
9. `aiosd/engines/engine.py`: the engine that runs the model

The answer goes back the same way.
"""

# Read by the build too; looking it up in the installed metadata takes a tenth of the time to READY.
__version__ = "0.1.0"
