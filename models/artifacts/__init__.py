"""Content-addressed artifacts: a stage's result under the fingerprint of what it was made from."""

from models.artifacts.recipe import Recipe, code_version, file_digest
from models.artifacts.store import Artifact, ArtifactStore, Outcome

__all__ = ["Artifact", "ArtifactStore", "Outcome", "Recipe", "code_version", "file_digest"]
