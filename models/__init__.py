"""The relforge library: relational schema to predictions, without an orchestrator."""

import os

# Without this, torch's matrix products may differ in their last bits from one process to the next
# (oneMKL's developer guide, "Reproducibility Conditions"), and with them a run that was resumed.
# It is read at the first product of a process.
os.environ.setdefault("MKL_CBWR", "AUTO")
