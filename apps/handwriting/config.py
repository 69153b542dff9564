"""What a reader of handwriting is: its data, its features, its network, its training; and the presets."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from ..core.config import Preset, TrainingConfig, require, require_least


@dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Configuration of a reader of handwriting."""

    data: str = "generated"
    """`generated` (written here, no download), or a path: InkML, an IAM-OnDB folder, JSON or CSV strokes, pendigits,
    Omniglot's zip of strokes; for offline models a folder of line images with texts."""
    model: Literal["online", "streaming", "offline", "attention", "classifier"] = "online"
    """online: bidirectional, reads a whole line; streaming: reads on after every stroke; offline: reads images;
    attention: a decoder that writes a character at a time (no CTC); classifier: names a single drawing."""
    text: str = ""
    """A UTF-8 text file whose words the generator writes; the manual that Python brings where none is given."""
    lines: int = 20000
    """Different lines that the generator writes for training; what an epoch needs is written when it comes."""
    lines_per_epoch: int = 0
    """Lines of an epoch, others than in the epochs before as long as there are some (see --fresh); 0 for all."""
    fresh: float = 1.0
    """Share of an epoch's lines that are new (with --lines-per-epoch); the others were in the epoch before. With 0.5
    each line comes twice, and half as many are written."""
    length: int = 40
    """Characters of a generated line at most (about)."""
    split: tuple[float, ...] = (0.8, 0.1, 0.1)
    """Shares of the writers (or lines, where no writer is named) for training, validation and test, where the data do
    not say."""

    spacing: float = 0.2
    """Distance between the points that a stroke is made into, in heights of an x."""
    stack: int = 4
    """Points in a frame, the step of the network."""
    curves: bool = False
    """Frames are cubic Bézier curves, as few as follow the ink, instead of points (online)."""
    height: int = 40
    """Rows that a picture of a line is made into (offline); a multiple of four times --stride."""
    stride: int = 2
    """Columns of a picture that become one frame (offline): the stride of the first convolution, also over rows; 1 to
    4."""
    channels: int = 24
    """Channels of the first convolution (offline); the next two have twice as many."""
    copies: int = 1
    """Times that each line of real ink comes in training, all but the first varied."""
    vary: float = 1.0
    """How much copies are bent, turned and stretched."""
    zoom: float = 0.12
    """Training lines are enlarged or reduced by up to this share."""

    units: int = 128
    """Hidden units of a layer and direction."""
    layers: int = 3
    """Recurrent layers."""
    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrent cell."""
    dropout: float = 0.1
    """Share of a layer's outputs dropped in training."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("lines", "length", "units", "layers", "stack", "copies", "channels"):
            require_least(self, name, 1)
        for name in ("lines_per_epoch", "vary"):
            require_least(self, name, 0)
        require(1 <= self.stride <= 4, f"--stride: expected 1 to 4, received {self.stride}")
        rows = 4 * self.stride
        whole = self.height >= rows and self.height % rows == 0
        require(whole, f"--height: expected a multiple of {rows} (4 × --stride), received {self.height}")
        require(0.02 <= self.spacing <= 1, f"--spacing: expected 0.02 to 1 heights of an x, received {self.spacing}")
        plain = not self.curves or self.model in ("online", "attention")
        require(plain, f"--curves: for models online and attention, received --model {self.model}")
        for name in ("dropout", "zoom"):
            value = getattr(self, name)
            require(0 <= value < 1, f"--{name}: expected a share in [0, 1), received {value}")
        require(0 < self.fresh <= 1, f"--fresh: expected a share in (0, 1], received {self.fresh}")
        shares = len(self.split) == 3 and all(s > 0 for s in self.split) and sum(self.split) <= 1 + 1e-9
        require(shares, f"--split: expected three shares that add up to 1 at most, received {self.split}")


@dataclass(frozen=True)
class PredictOptions:
    """What `predict` takes beside input and output."""

    beam: int = 1
    """Readings kept side by side; 1 takes the best path, 10 to 50 search for the most probable text."""
    n_best: int = 1
    """Readings to give of each line (with --beam)."""
    language_model: str = ""
    """A UTF-8 text file (a text a line) that a character language model is counted from, a saved one (.npz), or
    `built-in`: that of the English that the generator writes."""
    lm_weight: float = 0.6
    """How much the language model counts."""
    bonus: float = 1.6
    """Added to the score for every character where there is a language model, which likes short texts."""
    lexicon: str = ""
    """A UTF-8 file of words; a word outside it costs --unknown."""
    unknown: float = -8.0
    """What a word outside the lexicon adds to the score."""
    pattern: str = ""
    r"""A regular expression that the whole text must match: "[A-Z]{2}\d{4}"."""
    hotwords: tuple[str, ...] = ()
    """Words to favour: names, product codes."""
    stream: bool = False
    """Read stroke by stroke (streaming models) and tell what was read after each."""
    sure: float | None = None
    """Readings below this confidence are marked "not sure"; the model's calibrated threshold where not given."""


@dataclass(frozen=True)
class AdaptOptions:
    """What `adapt` takes beside the run."""

    lines: str
    """Lines of the hand with their texts: a file or folder in any format that --data takes. 10 to 50 are enough."""
    test: str = ""
    """Other lines of the hand to score before and after; where none are given, a share of --lines is held out."""
    held_out: float = 0.3
    """The share of --lines that is held out for the scores."""
    epochs: int = 10
    """Passes over the lines and their varied copies."""
    copies: int = 0
    """Times that each line comes in an epoch, all but the first varied; 0 takes as many as make about 300 rows."""
    vary: float = 0.7
    """How much copies are bent, turned and stretched."""
    rehearse: float = 0.5
    """Generated lines among the rows, as a share of the others, against forgetting other hands."""
    learning_rate: float = 1e-3
    """Adam's step size at the start; it falls to zero along a cosine."""
    seed: int = 0
    """Seeds what is held out, the copies and the order."""

    def __post_init__(self):
        require(0 < self.held_out < 1, f"--held-out: expected a share between 0 and 1, received {self.held_out}")
        for name in ("copies", "vary", "rehearse", "seed"):
            require_least(self, name, 0)
        require_least(self, "epochs", 1)


_QUICK = Config(
    lines=36000,
    lines_per_epoch=9000,
    units=96,
    layers=2,
    stack=6,
    length=24,
    dropout=0.0,  # no line comes twice: nothing can be learnt by heart
    batch_size=16,
    optimizer="muon",
    learning_rate=3e-3,
    schedule="cosine",
    warmup_steps=50,
    average=0.995,
    epochs=4,
    patience=0,
)
_ONLINE = dataclasses.replace(
    _QUICK,
    lines=240000,
    layers=3,
    length=64,
    lines_per_epoch=8000,
    epochs=30,
    learning_rate=1.5e-3,
    warmup_steps=200,
    average=0.998,
)
_TINY = dataclasses.replace(_ONLINE, lines=320000, epochs=40, units=64, layers=2, optimizer="adam", learning_rate=3e-3)
_STREAMING = dataclasses.replace(
    _ONLINE,
    lines=320000,
    epochs=40,
    model="streaming",
    units=128,
    layers=2,
)
_ATTENTION = dataclasses.replace(_ONLINE, model="attention", layers=2, length=36, lines=160000, epochs=20)
_OFFLINE = dataclasses.replace(
    _ONLINE, model="offline", height=60, stride=3, channels=32, length=36, lines=200000, epochs=25
)
_PENDIGITS = Config(
    model="classifier",
    data="pendigits",
    copies=6,
    spacing=0.1,
    stack=3,
    zoom=0.0,
    units=96,
    layers=2,
    dropout=0.3,
    batch_size=64,
    learning_rate=3e-3,
    schedule="cosine",
    warmup_steps=100,
    weight_decay=1e-4,
    average=0.99,
    epochs=6,
    patience=0,
)
_OMNIGLOT = dataclasses.replace(
    _PENDIGITS, data="strokes_background_small1.zip", copies=16, vary=1.5, units=128, dropout=0.4, epochs=16
)
PRESETS = {
    "quick": Preset("Pen strokes to text, generated writing: under five minutes.", _QUICK),
    "online": Preset("Pen strokes to text: three bidirectional LSTM layers.", _ONLINE),
    "online-tiny": Preset("The same in under 1 MB as int8: two layers of 64 units.", _TINY),
    "streaming": Preset("Pen strokes to text as they are written: two layers in one direction.", _STREAMING),
    "offline": Preset("Pictures of lines to text: convolutions and three bidirectional layers.", _OFFLINE),
    "attention": Preset("Pen strokes to text by an attention decoder instead of CTC.", _ATTENTION),
    "pendigits": Preset("UCI pen digits (--data FOLDER with pendigits.tra and .tes).", _PENDIGITS),
    "omniglot": Preset("Omniglot's zip of strokes (--data), drawers 17 to 20 held out.", _OMNIGLOT),
}
DEFAULT = "quick"
