#!/usr/bin/env bash
# Is a pinned dependency known to be vulnerable? Asks pip-audit (pip install pip-audit); its exit code, and its options.
cd "$(dirname "$0")/.." && exec python -m pip_audit --requirement constraints.txt --no-deps --disable-pip "$@"
