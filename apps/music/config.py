"""What a model of music is: its data, its representation, its network, its training; and the presets."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from ..core.config import Preset, TrainingConfig, require


@dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Configuration of a model of music."""

    data: str = "chorales"
    """A folder or file of MIDI, MusicXML, ABC, JSON chorales or .mat piano rolls, tfds:NAME, or the built-in `chorales`
    (Bach chorales as music21 ships them)."""
    split: tuple[float, ...] = (0.8, 0.1, 0.1)
    """Shares of the pieces for training, validation and test, where the data do not say."""
    codec: Literal["frames", "voices", "performance"] = "frames"
    """frames: the keys that sound in each step; voices: parts with holds; performance: note and time-shift events."""
    steps_per_beat: int = 4
    """Steps of a quarter note (frames, voices): 4 for sixteenths, 1 for quarters; a row of a piano roll is a step."""
    voices: int = 4
    """Parts (voices)."""
    transpose: int = 0
    """Train on transpositions of each piece by up to so many semitones, another each epoch."""
    count_bars: bool = True
    """Tell the model where in its bar a step lies (frames, voices)."""
    condition: tuple[Literal["density", "chords"], ...] = ()
    """What generation shall be steered by: density (notes a beat), chords (pitch classes of each beat)."""
    window: int = 128
    """Steps of a training window."""
    carry: bool = False
    """Read each piece window by window and carry the state over (truncated back-propagation); otherwise each window
    begins from nothing."""

    cell: Literal["lstm", "gru", "layernorm_lstm"] = "lstm"
    """The recurrent cell."""
    units: int = 256
    """Hidden units of a layer."""
    layers: int = 1
    """Recurrent layers."""
    head: Literal["independent", "joint"] = "joint"
    """joint: the keys of a frame by NADE, the parts of a step each given those before; independent: each alone."""
    head_units: int = 128
    """Hidden units of the joint head."""
    embedding: int = 64
    """Numbers that stand for a symbol (voices, performance)."""
    count_keys: bool = True
    """Tell the joint head of frames how many keys sound already."""
    context: int = 48
    """Channels of a convolution over the keys that sounded lately (frames), the same for every key; 0 for none."""
    placed: bool = False
    """Tell that convolution which key it is at: for pieces that all have one tonic, as in the .mat piano rolls."""
    attention: int = 0
    """Steps of the past that an attention looks back on, whose cost this bounds; 0 for none."""
    attention_heads: int = 2
    """Places in the past that it looks at at once."""
    input_dropout: float = 0.0
    """Share of the inputs dropped, the same over a window."""
    recurrent_dropout: float = 0.0
    """Share of the hidden state dropped where it meets the recurrent kernel, the same over a window."""
    dropout: float = 0.3
    """Share of the units dropped before the head."""

    def __post_init__(self):
        super().__post_init__()
        positive = (
            "units",
            "layers",
            "head_units",
            "embedding",
            "attention_heads",
            "window",
            "steps_per_beat",
            "voices",
        )
        for name in positive:
            value = getattr(self, name)
            require(value >= 1, f"--{name.replace('_', '-')}: expected 1 or more, received {value}")
        for name in ("input_dropout", "recurrent_dropout", "dropout"):
            value = getattr(self, name)
            require(0 <= value < 1, f"--{name.replace('_', '-')}: expected a share in [0, 1), received {value}")
        require(0 <= self.transpose <= 11, f"--transpose: expected 0 to 11 semitones, received {self.transpose}")
        for name in ("context", "attention"):
            value = getattr(self, name)
            require(value >= 0, f"--{name}: expected 0 or more, received {value}")
        shares = len(self.split) == 3 and all(s > 0 for s in self.split) and sum(self.split) <= 1 + 1e-9
        require(shares, f"--split: expected three shares that add up to 1 at most, received {self.split}")
        require(
            not self.condition or self.codec != "performance",
            "--condition: performance events have no steps to condition; use frames or voices",
        )
        counted = self.count_bars or "density" not in self.condition
        require(counted, "--condition density: it is that of each bar; expected --count-bars")


@dataclass(frozen=True)
class PredictOptions:
    """What `predict` takes beside input and output."""

    bars: float = 8.0
    """Bars to generate after the primer."""
    primer_bars: float = 2.0
    """Bars of the input that come first; 0 generates from nothing."""
    harmonise: bool = False
    """Keep the highest part of the input and find the others (voices)."""
    temperature: float = 1.0
    """Below 1 is safer, above 1 is wilder; 0 takes the most probable."""
    top_k: int = 0
    """Choose among the k most probable symbols, or keys of a frame; 0 for all."""
    top_p: float = 1.0
    """Leave out the least probable symbols that add up to 1 − p, or keys with a probability below 1 − p."""
    beam: int = 1
    """Sequences kept side by side; of the draws that continue them the most probable stay."""
    branch: int = 4
    """Draws from each sequence and step where --beam is above 1."""
    seed: int = 0
    """Seeds the draws."""
    key: str = ""
    """Keep to the notes of a key: C, Am, F#, Bbm, …"""
    lowest: int = 0
    """No note below this MIDI number."""
    highest: int = 127
    """No note above this MIDI number."""
    max_notes: int = 0
    """At most so many notes at once; 0 for any."""
    density: float = 0.0
    """Notes a beat to aim at (models trained with --condition density); 0 takes that of the input."""
    chords: str = ""
    """Chords to follow, one a bar, in turn: "C Am F G7" (models trained with --condition chords)."""
    tempo: float = 0.0
    """Beats per minute; 0 takes that of the input."""


_QUICK = Config(
    steps_per_beat=2,
    transpose=0,
    window=64,
    units=160,
    head_units=64,
    context=24,
    dropout=0.2,
    batch_size=8,
    learning_rate=4e-3,
    schedule="cosine",
    warmup_steps=50,
    average=0.98,
    epochs=16,
    patience=0,
)
_VOICES = dataclasses.replace(
    _QUICK, codec="voices", steps_per_beat=4, window=128, units=256, head_units=128, transpose=5
)
_PERFORMANCE = dataclasses.replace(
    _QUICK, data="midi", codec="performance", cell="layernorm_lstm", window=256, units=256, transpose=3
)
_JSB = dataclasses.replace(
    _QUICK,
    data="JSB_Chorales.mat",
    steps_per_beat=1,
    transpose=0,  # these pieces were all brought to one tonic: other keys are no help
    units=256,
    head_units=100,
    context=40,
    attention=96,
    attention_heads=4,
    dropout=0.5,
    input_dropout=0.15,
    recurrent_dropout=0.25,
    batch_size=4,
    learning_rate=2e-3,
    average=0.995,
    epochs=26,
)
_JSB_KEYS = dataclasses.replace(_JSB, head="independent", attention=0, dropout=0.55, epochs=32)
_NOTTINGHAM = dataclasses.replace(
    _JSB,
    data="Nottingham.mat",
    units=192,
    context=0,
    attention=160,
    window=129,  # most tunes have 255 to 257 steps: one half, in which each theme comes twice
    input_dropout=0.1,
    recurrent_dropout=0.1,
    batch_size=8,
    learning_rate=3e-3,
    average=0.99,
    warmup_steps=100,
    epochs=9,
)
_NOTTINGHAM_KEYS = dataclasses.replace(
    _NOTTINGHAM, head="independent", units=256, dropout=0.3, input_dropout=0.0, recurrent_dropout=0.0, epochs=16
)

PRESETS = {
    "chorales": Preset("Bach chorales in eighths (built in), NADE head: under five minutes.", _QUICK),
    "voices": Preset(
        "Bach chorales in four parts, sixteenths (built in): continues, and harmonises melodies.", _VOICES
    ),
    "performance": Preset("Note events with timing and loudness, from a folder of MIDI (--data).", _PERFORMANCE),
    "jsb": Preset("JSB Chorales (--data JSB_Chorales.mat), NADE head.", _JSB),
    "jsb-independent": Preset("The same, keys independent of each other.", _JSB_KEYS),
    "nottingham": Preset("Nottingham (--data Nottingham.mat), NADE head.", _NOTTINGHAM),
    "nottingham-independent": Preset("The same, keys independent of each other.", _NOTTINGHAM_KEYS),
}
DEFAULT = "chorales"
