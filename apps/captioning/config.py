"""What a captioning model is: its pictures, its encoder, its decoder, its training; and the presets."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from ..core.config import Preset, TrainingConfig, require, require_least


@dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Configuration of a captioning model."""

    data: str = "scenes"
    """A folder of images with a captions file, that file, COCO JSON, tfds:coco_captions, or the built-in `scenes`."""
    split: tuple[float, ...] = (0.8, 0.1, 0.1)
    """Shares of the images for training, validation and test, where the data do not say."""
    scenes: int = 6000
    """Rendered scenes to train on (--data scenes)."""
    held_out_scenes: int = 500
    """Rendered scenes for validation, and as many for test (--data scenes)."""
    image_size: int = 64
    """Pixels of a side of the square that the encoder sees."""
    cache: str = ""
    """Folder in which features of frozen encoders are kept; the user's cache folder when empty."""

    vocabulary: Literal["words", "subwords"] = "words"
    """Whole words, or pieces of words learnt by sentencepiece, which leave no word unknown."""
    least_count: int = 2
    """Words that come less often in the training captions are unknown (words)."""
    pieces: int = 1000
    """Size of the vocabulary (subwords)."""
    longest: int = 20
    """Tokens of a caption at most, the end included; longer ones are cut for training."""

    encoder: str = "small"
    """small (a CNN trained from scratch), squeezenet, or a network of keras.applications by name."""
    encoder_weights: str = ""
    """Weights of the encoder: a file (.h5, .keras, .weights.h5), or imagenet where the network can be reached."""
    frozen: bool = False
    """Keep the encoder as it is, and its features on disk."""
    finetune_epochs: int = 0
    """Epochs in which the encoder learns too, after the decoder (frozen)."""
    finetune_rate: float = 1e-5
    """Learning rate of those epochs."""
    pool: int = 1
    """Average so many by so many places of the encoder's grid (frozen); fewer places to look at, less to compute."""

    attention: bool = True
    """Look at the places of the grid word by word; False shows the mean of the grid once (NIC)."""
    look: Literal["before", "after"] = "before"
    """Look before the cell reads a word, which then sees both (Xu et al. 2015), or after it (Luong et al. 2015): the
    cell reads words alone, and what is seen is added in the logits, so that it counts whatever was said before."""
    attention_units: int = 64
    """Units of the attention's hidden layer."""
    memory_units: int = 96
    """Numbers of a place of the grid that the decoder reads."""
    cell: Literal["lstm", "gru", "layernorm_lstm"] = "lstm"
    """The recurrent cell of the decoder."""
    units: int = 128
    """Hidden units of the decoder."""
    embedding: int = 64
    """Numbers that stand for a word."""
    dropout: float = 0.1
    """Share of the features, of the embeddings and of the units before the output dropped."""
    word_dropout: float = 0.0
    """Share of the words fed in that are replaced by the unknown word, so that the picture counts for more."""
    word_swap: float = 0.0
    """Share of the words fed in that are replaced by the word at the same place of another caption: what follows a word
    in the training captions then says less than the picture, and pairs of words that never met can be said."""
    label_smoothing: float = 0.0
    """Share of the target spread over all words."""
    coverage: float = 0.0
    """Weight of the doubly stochastic regularisation: every place is to be looked at once in all (Xu et al. 2015)."""
    concepts: float = 0.0
    """Weight of a second loss of models with attention: the places of the grid say the words of the captions by
    themselves, so that the picture decides about things and colours that never met in training (Fang et al. 2015). The
    cell then begins with how likely each word is so (Wu et al. 2016): one colour or two, one of a kind or several."""
    scheduled_sampling: float = 0.0
    """Highest share of words fed in that the model drew itself (Bengio et al. 2015)."""
    sampling_steps: int = 1000
    """Scheduled sampling reaches its highest share along a line over so many steps."""
    self_critical_epochs: int = 0
    """Epochs of self-critical training on CIDEr-D after all others (Rennie et al. 2017)."""
    self_critical_rate: float = 5e-5
    """Learning rate of those epochs."""

    captions: int = 1
    """Captions of an image that are learnt at once, for one pass through the encoder."""
    rows: int = 0
    """Images (with `captions` captions) an epoch; 0 for all."""
    compare: tuple[str, ...] = ()
    """Runs whose scores on the same images are printed beside, such as one with --no-attention."""
    beam: int = 3
    """Width of the beam search of evaluation and the default of predict."""
    length_penalty: float = 0.7
    """α of the division of log p by ((5 + length) / 6)^α in beam search (Wu et al. 2016)."""

    def __post_init__(self):
        super().__post_init__()
        least = {"image_size": 16, "longest": 3, "pieces": 20, "scenes": 20, "held_out_scenes": 4}
        ones = ("beam", "captions", "pool", "least_count", "sampling_steps", "units", "embedding", "attention_units")
        zeros = ("finetune_epochs", "finetune_rate", "self_critical_epochs", "self_critical_rate", "coverage", "rows")
        least |= dict.fromkeys((*ones, "memory_units"), 1)
        least |= dict.fromkeys((*zeros, "concepts", "length_penalty"), 0)
        for name, value in least.items():
            require_least(self, name, value)
        for name in ("dropout", "word_dropout", "word_swap", "label_smoothing", "scheduled_sampling"):
            value = getattr(self, name)
            require(0 <= value < 1, f"--{name.replace('_', '-')}: expected a share in [0, 1), received {value}")
        shares = len(self.split) == 3 and all(s > 0 for s in self.split) and sum(self.split) <= 1 + 1e-9
        require(shares, f"--split: expected three shares that add up to 1 at most, received {self.split}")
        require(self.frozen or not self.finetune_epochs, "--finetune-epochs comes after training with --frozen")
        require(self.attention or not self.coverage, "--coverage: a model without attention looks at no place")
        scratch = self.encoder == "small"
        require(not (scratch and self.encoder_weights), "--encoder-weights: the small CNN begins from scratch")
        known = scratch and not self.init_from
        require(not (known and self.frozen), "--frozen: the small CNN has learnt nothing yet; see --init-from")
        require(self.frozen or self.pool == 1, "--pool is for --frozen")


@dataclass(frozen=True)
class PredictOptions:
    """What `predict` takes beside input and output."""

    beam: int = 0
    """Width of the beam; 0 takes that of the configuration, 1 the most probable word each time."""
    n_best: int = 1
    """Captions an image."""
    length_penalty: float | None = None
    """α of the length normalisation; that of the configuration when not given."""
    no_repeat: int = 3
    """No group of so many words comes twice in a caption; 0 allows any."""
    least_confidence: float | None = None
    """Below this calibrated confidence a caption is marked: not sure; where not given, below what nine tenths of the
    validation captions had."""
    longest: int = 0
    """Words at most; 0 takes that of the configuration."""


_QUICK = Config(
    scenes=10000,
    rows=7000,
    held_out_scenes=200,
    longest=16,
    look="after",
    captions=2,
    batch_size=32,
    learning_rate=2e-3,
    schedule="cosine",
    warmup_steps=100,
    word_dropout=0.15,
    word_swap=0.3,
    weight_decay=0.05,
    label_smoothing=0.02,
    concepts=1.0,
    average=0.99,
    epochs=6,
    patience=0,
)
_SCENES = dataclasses.replace(
    _QUICK, scenes=40000, rows=20000, epochs=16, units=160, held_out_scenes=1000, average=0.995
)
_FLICKR8K = Config(
    data="flickr8k",
    image_size=227,
    encoder="squeezenet",
    encoder_weights="squeezenet1.1_notop.h5",
    frozen=True,
    pool=2,
    least_count=4,
    longest=17,
    captions=5,
    batch_size=16,
    memory_units=128,
    attention_units=64,
    units=128,
    embedding=128,
    dropout=0.25,
    learning_rate=3e-3,
    schedule="cosine",
    warmup_steps=50,
    average=0.98,
    epochs=12,
    patience=5,
)
_FLICKR8K_FULL = dataclasses.replace(
    _FLICKR8K,
    image_size=224,
    encoder="resnet50",
    encoder_weights="imagenet",
    pool=1,
    longest=24,
    memory_units=512,
    attention_units=256,
    units=512,
    embedding=256,
    coverage=1.0,
    batch_size=32,
    learning_rate=4e-4,
    finetune_epochs=5,
)

PRESETS = {
    "quick": Preset("Rendered scenes, small CNN and attention: a first look, in minutes.", _QUICK),
    "scenes": Preset("Rendered scenes, a longer training, scored on unseen combinations.", _SCENES),
    "flickr8k": Preset("Flickr8k (--data FOLDER) on features of SqueezeNet 1.1 (--encoder-weights FILE).", _FLICKR8K),
    "flickr8k-full": Preset(
        "All of Flickr8k (--data FOLDER), ResNet50 by keras.applications, fine-tuned: a GPU's work.", _FLICKR8K_FULL
    ),
}
DEFAULT = "quick"
