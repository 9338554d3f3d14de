"""The command line for a test of several processes: with a judge for random replies, and a log of what each process did.

    torchrun --nproc_per_node 2 tests/launched.py LOG defend ...

Every process appends lines to the file LOG-<rank>.txt: how often it ran the model, and whether its weights are shards.
"""

from __future__ import annotations

import os
import sys
from collections import Counter

import torch
from calls import judge_bytes

from babelguard import parallel
from babelguard.judges.patterns import PatternJudge
from babelguard.method import first_tokens, passes
from babelguard.parallel import work

log, sys.argv = sys.argv[1], [sys.argv[0], *sys.argv[2:]]
torch.set_num_threads(1)
PatternJudge.judge = judge_bytes
first_tokens.COMMON, first_tokens.RATIO = 0.0, 1.0
done = Counter()
attempt = work._work


def counted(function, model, arguments):
    done[function.__name__] += 1
    kinds = {type(weight).__name__ for weight in model.parameters()}
    with open(f"{log}-{parallel.rank()}.txt", "w", encoding="utf-8") as file:
        print(os.getpid(), parallel.world(), sorted(kinds), sorted(done.items()), file=file)
    if os.environ.get("FAIL_AT") == f"{parallel.rank()}/{function.__name__}":
        if "KILL" in os.environ:
            os.kill(os.getpid(), 9)
        arguments = ()  # an error within the function
    return attempt(function, model, arguments)


work._work = counted
assert passes

if __name__ == "__main__":
    from babelguard.__main__ import main

    main()
