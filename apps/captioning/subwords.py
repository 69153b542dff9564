"""Vocabularies of pieces of words, learnt by sentencepiece; a trained codec needs it no more."""

import io
from collections.abc import Iterable

from ..core.errors import DataError, MissingExtra
from .codec import SPECIAL, Codec, words


def fit_pieces(sentences: Iterable[str], size: int, **rest) -> Codec:
    """A codec of at most `size` pieces (a unigram model; Kudo 2018), its special tokens included."""
    try:
        import sentencepiece
    except ModuleNotFoundError:
        raise MissingExtra("--vocabulary subwords", "train") from None
    model = io.BytesIO()
    lines = [" ".join(words(sentence)) for sentence in sentences]
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, vocab_size=size, model_type="unigram",
            hard_vocab_limit=False, pad_id=0, bos_id=1, eos_id=2, unk_id=3, normalization_rule_name="identity",
            minloglevel=2, num_threads=1,
        )  # fmt: skip
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[-1][-150:]
        raise DataError(f"--pieces {size}: sentencepiece could not learn them: {reason}") from None
    learnt = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(len(SPECIAL), learnt.get_piece_size())
    pieces = (*SPECIAL, *(learnt.id_to_piece(i) for i in ids))
    scores = (0.0, 0.0, 0.0, 0.0, *(learnt.get_score(i) for i in ids))
    return Codec("subwords", pieces, scores, **rest)
