"""Settings of LightGBM over the embeddings of a pretrained encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.pretraining.config import Pretext, PretrainingConfig
from models.rdl.config import Strategy
from models.tabular.lightgbm_config import LightGBMConfig

_PRETRAINING = PretrainingConfig()


@dataclass(frozen=True, slots=True)
class EmbeddingFeaturesConfig(LightGBMConfig):
    """Settings of the family; those of the trees are as in `LightGBMConfig`.

    `encoder` is the objective of the pretrained encoder. `fan_out` and `strategy` are those of the
    neighbourhoods that it reads, by default as in its pretraining. `features` says whether the DFS
    features are columns too. `device` is where embeddings are computed: `auto`, `cpu` or `cuda`.
    """

    encoder: str = str(Pretext.TVE)
    fan_out: int = _PRETRAINING.fan_out
    strategy: str = str(_PRETRAINING.strategy)
    features: bool = True
    device: str = "auto"

    def __post_init__(self) -> None:
        LightGBMConfig.__post_init__(self)
        known: Mapping[str, type[Pretext] | type[Strategy]]
        known = {"encoder": Pretext, "strategy": Strategy}
        for name, values in known.items():
            if getattr(self, name) not in list(values):
                raise ValueError(
                    f"{name} must be one of {', '.join(values)} (got {getattr(self, name)!r})"
                )
        if self.fan_out < 1:
            raise ValueError(f"fan_out must be at least 1 (got {self.fan_out})")
