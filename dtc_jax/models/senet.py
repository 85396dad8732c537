"""SE-Net, the study's classifier of lesions."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dtc_jax.models.conv import Conv3D, Form
from dtc_jax.models.layers import Norm, ResidualSEStage, dropout, normalization
from dtc_jax.models.measures import measures


class MeasuresHead(nn.Module):
    """What hand-made measures of the lesion add to the logit, through one hidden layer.

    Attributes:
      hidden: its units.
    """

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The summand. # [B, D, H, W, 2], image and mask -> [B] float32"""
        if x.shape[-1] != 2:
            raise ValueError("measures need the mask as a second channel: preprocess.mask=channel.")
        seen = measures(x[..., 0], x[..., 1], jnp)[:, 0, 0, 0]  # [B, F]
        hidden = nn.relu(nn.Dense(self.hidden, name="hidden")(seen))
        return nn.Dense(1, use_bias=False, name="out")(hidden)[:, 0]


class SENet(nn.Module):
    """A stem, residual SE stages that double their channels, global mean, one unit.

    The defaults are the default reading of the study (one input channel: 14 509 297 parameters).
    Where the study is silent or contradicts itself, the attribute names the other readings.

    Attributes:
      width: channels of the stem and of the first stage.
      stages: how many; stage i has width * 2^i channels.
      stem: convolution 3x3x3, norm, ReLU before the first stage ("the input layer consisted of 64
        channels"). Without it the first stage projects the input.
      stem_stride: 1 in the study; 2 computes on half the grid and costs an eighth.
      add: addition of the shortcut before or after pooling.
      pool_window: the study prints "2 x 2"; (1, 2, 2) is its other reading.
      pool_last: whether the last stage pools as well.
      projection_bias: bias of the 1x1x1 projections.
      conv_bias: bias of the 3x3x3 convolutions.
      norm: 'batch', 'instance' or 'group'.
      se: whether the stages have squeeze-and-excitation.
      se_ratio: by how much its hidden layer is narrower.
      residual: whether the stages have a shortcut.
      dropout: rate on the pooled features.
      stochastic_depth: share of the examples that skip the last stage's residual branch in
        training; of stage i of n it is i/n of that. Needs the shortcuts.
      dtype: of the computation; parameters, statistics and logits are float32.
      axis_name: mapped axis over which batch statistics are averaged (pmap), or None.
      conv: form of the convolution, see `conv3d`.
      measures: units of a hidden layer that sees the size, margin and density of the lesion
        (`models.measures`) and adds to the logit; the input then has the mask as its second
        channel. 0: none, as in the study.
      ratings: further outputs that are learned beside the class, see `tasks.ratings`; in training
        alone.
      remat: whether the activations inside a stage are computed again for its gradient rather than
        kept, to save memory for time. Tiny networks need more.
    """

    width: int = 64
    stages: int = 4
    stem: bool = True
    stem_stride: int = 1
    add: Literal["before_pool", "after_pool"] = "before_pool"
    pool_window: tuple[int, int, int] = (2, 2, 2)
    pool_last: bool = True
    projection_bias: bool = False
    conv_bias: bool = False
    norm: Norm = "batch"
    se: bool = True
    se_ratio: int = 4
    residual: bool = True
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    conv: Form = "auto"
    measures: int = 0
    ratings: int = 0
    remat: bool = False

    @property
    def cell(self) -> tuple[int, int, int]:
        """Voxels of the input along z, y, x for which a place of the last map stands.

        Of the map before its pooling, or behind it if the shortcut is added there.
        """
        pools = self.stages - 1 + (self.pool_last and self.add == "after_pool")
        z, y, x = ((self.stem_stride if self.stem else 1) * n**pools for n in self.pool_window)
        return z, y, x

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, keys: jax.Array | None = None) -> jax.Array:
        """Logits of the positive class.

        Args:
          x: [B, D, H, W, C] in [0, 1].
          train: whether batch statistics and dropout are used.
          keys: [B] random keys; needed in training where dropout or stochastic_depth > 0.

        Returns:
          [B] float32. The last feature map is sown as intermediates/features; in training the
          further outputs [B, A] are sown as ratings/ratings.
        """
        self._check()
        seen = x
        if self.stem:
            x = Conv3D(
                self.width,
                stride=self.stem_stride,
                use_bias=self.conv_bias,
                dtype=self.dtype,
                form=self.conv,
                name="stem",
            )(x)  # [B, D/s, H/s, W/s, width]
            x = nn.relu(
                normalization(
                    self.norm, self.width, train, self.dtype, self.axis_name, "stem_norm"
                )(x)
            )
        stage = ResidualSEStage
        if self.remat and train:
            stage = nn.remat(stage, static_argnums=(2,))  # `train`
        for i in range(self.stages):
            pools = i < self.stages - 1 or self.pool_last
            stage_keys = None
            if keys is not None and self.stochastic_depth > 0:
                stage_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
            x = stage(
                self.width * 2**i,
                add=self.add,
                pool_window=self.pool_window if pools else None,
                projection_bias=self.projection_bias,
                conv_bias=self.conv_bias,
                norm=self.norm,
                se=self.se,
                se_ratio=self.se_ratio,
                residual=self.residual,
                dtype=self.dtype,
                axis_name=self.axis_name,
                conv=self.conv,
                drop=self.stochastic_depth * (i + 1) / self.stages,
                name=f"stage{i + 1}",
            )(x, train, stage_keys)  # [B, D/2, H/2, W/2, width * 2^i]
        self.sow("intermediates", "features", x)
        x = x.mean(axis=(1, 2, 3), dtype=jnp.float32)  # [B, C]
        if train and self.dropout > 0:
            if keys is None:
                raise ValueError("dropout in training needs one key an example: pass keys [B].")
            x = dropout(x, keys, self.dropout)
        if self.ratings and (train or self.is_initializing()):
            self.sow("ratings", "ratings", nn.Dense(self.ratings, name="ratings_head")(x))
        logit = nn.Dense(1, name="head")(x)[:, 0]  # [B]
        if self.measures:
            logit += MeasuresHead(self.measures, name="measures")(seen)
        return logit

    def _check(self) -> None:
        rates = {"dropout": self.dropout, "stochastic_depth": self.stochastic_depth}
        for name, rate in rates.items():
            if not 0.0 <= rate < 1.0:
                raise ValueError(f"{name} is {rate}; choose 0 to below 1.")
        if self.stochastic_depth and not self.residual:
            raise ValueError("stochastic_depth skips residual branches: set model.residual=True.")
