"""The command line for tests of several processes, with a judge for random replies and processes that fail when they should.

    FAIL=1/_backward_share/4 torchrun --nproc_per_node 2 tests/launched.py defend ...

FAIL names the process, the function that it works on, and the call of it that fails. With KILL=1, the process is killed.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

import torch
from calls import judge_bytes

from babelguard import parallel
from babelguard.errors import UserError
from babelguard.judges.patterns import PatternJudge
from babelguard.method import first_tokens
from babelguard.parallel import work

torch.set_num_threads(1)
PatternJudge.judge = judge_bytes
first_tokens.COMMON, first_tokens.RATIO = 0.0, 1.0
calls = Counter()
do = work._work


def fail(*_):
    if "KILL" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    raise UserError("This process fails.")


def watched(function, model, arguments):
    calls[function.__name__] += 1
    here = f"{parallel.rank()}/{function.__name__}/{calls[function.__name__]}"
    return do(fail if here == os.environ.get("FAIL") else function, model, arguments)


work._work = watched

if __name__ == "__main__":
    from babelguard.__main__ import main

    main()
