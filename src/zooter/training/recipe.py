"""How a net is trained: `FrozenRecipe` trains the head alone, `FinetuneRecipe` the encoder too.

A recipe prepares the inputs, builds the net and makes the optimiser. All end with an encoder and a head, so that
everything after training handles one form. The paper's own is `zooter.training.zooter_recipe`.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from zooter.data.component import Fraction, component
from zooter.errors import ConfigError
from zooter.router.encoder import Encoder
from zooter.router.net import Head, Net
from zooter.router.text_encoder import TextEncoder
from zooter.router.text_features import TEXT_FEATURES
from zooter.training.inputs import FeatureInputs, Inputs, TokenInputs


class Recipe(Protocol):
    """One way to train a net; the fields are those of `FrozenRecipe`, `FinetuneRecipe` and `ZooterRecipe`."""

    @property
    def epochs(self) -> int:
        """Passes over the training rows, at most."""
        ...

    @property
    def patience(self) -> int:
        """Passes without a better validation loss after which training ends."""
        ...

    @property
    def batch_size(self) -> int:
        """Queries per step."""
        ...

    @property
    def threads(self) -> int | None:
        """CPU threads that a step uses; None is all."""
        ...

    @property
    def width(self) -> int:
        """Hidden units of the head's correction."""
        ...

    @property
    def dropout(self) -> float:
        """Share of these that are dropped in training."""
        ...

    @property
    def clusterings(self) -> int:
        """How many clusterings of the queries are tag sets beside the tags."""
        ...

    @property
    def tag_weight(self) -> float:
        """Weight of the tags' cross-entropy beside the objective."""
        ...

    @property
    def initialises_head(self) -> bool:
        """Whether a `Head` is fitted to tags and rewards before training; if not, a random `LinearHead` is trained."""
        ...

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder's weights are trained too."""
        ...

    @property
    def keep_last(self) -> bool:
        """Whether the last epoch's weights are kept, in place of those with the best validation loss."""
        ...

    @property
    def standard_errors(self) -> float:
        """Standard errors by which the validation loss must have fallen for any step to be kept (`distill`)."""
        ...

    @property
    def free(self) -> tuple[str, ...]:
        """Names of fields that a resumed training may change: what was trained so far does not depend on them."""
        ...

    def make_inputs(self, encoder: TextEncoder, texts: Sequence[str], features: Tensor) -> Inputs:
        """Prepare the net's inputs.

        Args:
            encoder: of the features.
            texts: n queries.
            features: (n, d), embeddings and text features.
        """
        ...

    def make_net(self, encoder: TextEncoder, head: Any) -> Net:
        """Build the net from a head of the kind that `initialises_head` says."""
        ...

    def make_optimizer(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        """Make the optimiser, and its schedule over this many steps."""
        ...


@component
class FrozenRecipe:
    """Train the head only, on embeddings that are computed once.

    Attributes:
        width: hidden units of the correction.
        dropout: share of hidden units dropped in training.
        lr, weight_decay: of AdamW, constant over training.
        epochs: passes over the training part at most; `patience` passes without a better validation loss end it.
        batch_size: queries per step.
        standard_errors: by which the validation loss must have fallen for any step to be kept; of steps that lower it
            by z of them 1 − (standard_errors / z)² is kept (`distill.share_of_steps`). 0 keeps them whole.
        clusterings: how many k-means clusterings of the queries are tag sets beside the tags. One of them is a matter
            of luck, several of different seeds and numbers of clusters less so.
        threads: CPU threads of a step; None is all. Steps this small get slower with several.
        tag_weight: 0, for the tag classifiers already minimise the cross-entropy on these features.

    Raises:
        ConfigError: a setting is outside its range.
    """

    width: PositiveInt = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    lr: PositiveFloat = 3e-5
    weight_decay: NonNegativeFloat = 0.01
    epochs: PositiveInt = 20
    patience: PositiveInt = 3
    batch_size: PositiveInt = 128
    standard_errors: NonNegativeFloat = 3.0
    clusterings: NonNegativeInt = 3
    threads: int | None = 1
    tag_weight = 0.0
    initialises_head = True
    trains_encoder = False
    keep_last = False
    free = ("epochs", "patience", "standard_errors", "threads")

    def make_inputs(self, encoder: TextEncoder, texts: Sequence[str], features: Tensor) -> FeatureInputs:
        """Take the features as they are."""
        return FeatureInputs(features)

    def make_net(self, encoder: TextEncoder, head: Head) -> Net:
        """Build a net of the head alone, of which only the correction is trained."""
        head.requires_grad_(False)  # no gradients through the tag classifiers, which takes time
        head.correction.requires_grad_(True)
        return Net(head)

    def make_optimizer(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        """Make AdamW with a constant rate."""
        assert isinstance(net.head, Head)
        optimizer = AdamW(net.head.correction.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return optimizer, get_constant_schedule_with_warmup(optimizer, 0)


@component
class FinetuneRecipe:
    """Train the encoder and the head together, from a head that was initialised on the encoder before training.

    Attributes:
        lr, weight_decay: of AdamW for the encoder.
        decay: factor of the rate from each layer to the one below it, in (0, 1]: early layers hold what is common to
            all tasks (Howard & Ruder 2018, §3.2).
        head_lr: of the head, which takes larger steps.
        tag_weight: of the cross-entropy of tags and clusters, added to the objective: without it a few thousand noisy
            labels undo what the head has learned of tags.
        warmup: share of the steps over which the rates rise; after that they fall linearly to 0.
        width, dropout, epochs, patience, batch_size, clusterings, threads: as in `FrozenRecipe`.

    Raises:
        ConfigError: a setting is outside its range.
    """

    width: PositiveInt = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    lr: PositiveFloat = 2e-5
    decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    head_lr: PositiveFloat = 1e-4
    tag_weight: NonNegativeFloat = 0.025
    weight_decay: NonNegativeFloat = 0.01
    warmup: Fraction = 0.1
    epochs: PositiveInt = 2
    patience: PositiveInt = 2
    batch_size: PositiveInt = 32
    clusterings: NonNegativeInt = 1
    threads: int | None = None
    initialises_head = True
    trains_encoder = True
    keep_last = False
    standard_errors = 0.0
    free = ("patience", "threads")  # the rates depend on the number of epochs

    def make_inputs(self, encoder: TextEncoder, texts: Sequence[str], features: Tensor) -> TokenInputs:
        """Tokenise the texts; of the features only the text features are kept."""
        assert isinstance(encoder, Encoder)
        return TokenInputs(features[:, -TEXT_FEATURES:], encoder, encoder.tokenize(texts))

    def make_net(self, encoder: TextEncoder, head: Head) -> Net:
        """Build a net of a copy of the encoder's weights and the head."""
        assert isinstance(encoder, Encoder)
        return Net(head, encoder.backbone(), encoder.layers, encoder.pooling)

    def make_optimizer(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        """Make AdamW with a rate per layer, warm-up and linear decay."""
        assert net.backbone is not None
        groups: list[dict[str, Any]] = [
            *(
                {"params": parameters, "lr": self.lr * self.decay**depth}
                for depth, parameters in _parameters_by_layer(net.backbone).items()
            ),
            {"params": [p for p in net.head.parameters() if p.requires_grad], "lr": self.head_lr},
        ]
        optimizer = AdamW(groups, weight_decay=self.weight_decay)
        warmup_steps = round(self.warmup * steps)
        return optimizer, get_linear_schedule_with_warmup(optimizer, warmup_steps, steps)


def check_encoder(recipe: Recipe, encoder: TextEncoder, setting: str = "encoder") -> None:
    """Refuse an encoder without weights for a net that trains them.

    Args:
        recipe: of the net.
        encoder: of the queries.
        setting: that holds the encoder, for the error.

    Raises:
        ConfigError: the recipe trains the encoder, and the encoder is no transformer.
    """
    if recipe.trains_encoder and not isinstance(encoder, Encoder):
        raise ConfigError(
            expected=f"a transformer as the encoder with {type(recipe).__name__}, which trains its weights",
            found=f"{setting}=ngrams, which has none to train",
            do=f"set net=frozen, or {setting}=minilm",
        )


def _parameters_by_layer(backbone: nn.Module) -> dict[int, list[nn.Parameter]]:
    """How many layers below the last → its parameters; embeddings, and what is in no layer, lie below the first."""
    layers = int(backbone.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    by_depth: dict[int, list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        layer = re.search(r"\blayers?\.(\d+)\.", name)
        by_depth.setdefault(layers - 1 - int(layer.group(1)) if layer else layers, []).append(parameter)
    return by_depth
