"""The relforge library: relational schema to predictions, without an orchestrator."""
