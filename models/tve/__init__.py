"""Task vectors: what happens around an entity in the time after a cutoff, as many small targets.

Truong et al., "A Pre-training Framework for Relational Data with Information-theoretic Principles",
NeurIPS 2025 (arXiv 2507.09837).
"""
