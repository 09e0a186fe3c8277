"""The training of ZOOTER's net as published (arXiv 2311.08692, §3.2 and App. B): encoder and linear layer together."""

from collections.abc import Sequence

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_linear_schedule_with_warmup

from zooter.data.component import Fraction, component
from zooter.errors import ConfigError
from zooter.router.encoder import Encoder
from zooter.router.linear_head import LinearHead
from zooter.router.net import Net
from zooter.router.text_encoder import TextEncoder
from zooter.training.inputs import TokenInputs
from zooter.training.labels import TagSmoothing
from zooter.training.recipe import Recipe


@component
class ZooterRecipe:
    """Train the encoder and one linear layer on its embedding, from a random layer, on the labels alone.

    The paper gives the rate, the weight decay and the epochs. It does not name optimiser, schedule, batch size or
    pooling, nor say that an epoch was chosen by validation: here AdamW with one rate for all layers that falls linearly
    to 0, as transformers trains by default, batches as in `FinetuneRecipe`, mean pooling, and the last epoch's weights.

    There is no other tag set, no second task, no early stop, and the net routes whatever it has learned: what
    cross-fitting chooses for the default head (`label.beta=auto`) does not exist here.

    Attributes:
        lr, weight_decay: of AdamW for all weights.
        warmup: share of the steps over which the rate rises.
        epochs: passes over the training queries; all of them are made.
        batch_size: queries per step.
        threads: CPU threads of a step; None is all.

    Raises:
        ConfigError: a setting is outside its range.
    """

    lr: PositiveFloat = 1e-5
    weight_decay: NonNegativeFloat = 5e-7
    warmup: Fraction = 0.0
    epochs: PositiveInt = 5
    batch_size: PositiveInt = 32
    threads: int | None = None
    tag_weight = 0.0
    initialises_head = False
    trains_encoder = True
    keep_last = True
    standard_errors = 0.0
    width, dropout, clusterings = 0, 0.0, 0  # of a head that is initialised, which this one is not
    free = ("threads",)

    @property
    def patience(self) -> int:
        """All epochs: training does not stop early."""
        return self.epochs

    def make_inputs(self, encoder: TextEncoder, texts: Sequence[str], features: Tensor) -> TokenInputs:
        """Tokenise the texts; of the features none is used."""
        assert isinstance(encoder, Encoder)
        return TokenInputs(None, encoder, encoder.tokenize(texts))

    def make_net(self, encoder: TextEncoder, head: LinearHead) -> Net:
        """Build a net of a copy of the encoder's weights and the head."""
        assert isinstance(encoder, Encoder)
        return Net(head, encoder.backbone(), encoder.layers, encoder.pooling)

    def make_optimizer(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        """Make AdamW with one rate, warm-up and linear decay."""
        optimizer = AdamW(net.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        schedule = get_linear_schedule_with_warmup(optimizer, round(self.warmup * steps), steps)
        return optimizer, schedule


def check_label(recipe: Recipe, label: TagSmoothing) -> None:
    """Refuse labels whose settings cross-fitting would have to choose, for a net that has no head to cross-fit.

    Args:
        recipe: of the net.
        label: settings of the labels.

    Raises:
        ConfigError: β or the temperature is no number, and the head is not initialised.
    """
    open_settings = {name: value for name in ("beta", "temperature") if isinstance(value := getattr(label, name), str)}
    if open_settings and not recipe.initialises_head:
        name, value = next(iter(open_settings.items()))
        raise ConfigError(
            expected=f"a number in label.{name} with {type(recipe).__name__} (net=zooter)",
            found=f"{value!r}, which cross-fitting of the default head would choose",
            do=f"set label.{name}; the paper has label.beta=0.3 and label.temperature=1",
        )
