"""What the Python clients share: each case prints one line, `name: what was observed` as JSON.

The lines of a run on the embedded broker are compared with those of a run on Apache Kafka, so an observation holds nothing that
differs from run to run: no ids, no times, no name with the run's prefix.
"""
import json
import sys
import time

BOOTSTRAP, PREFIX = sys.argv[1], sys.argv[2]
REGISTRY = sys.argv[3] if len(sys.argv) > 3 else None


def topic(name):
    return f"{PREFIX}-{name}"


def tell(name, seen):
    text = json.dumps(seen, sort_keys=True, ensure_ascii=False)
    print(f"{name}: {text.replace(PREFIX, '@')}", flush=True)


def until(what, condition, seconds=30):
    """Waits for a condition; what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"waited {seconds} s for {what}")
