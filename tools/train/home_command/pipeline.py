"""From the corpora to a trained network, with fixed seeds."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from tools.train.home_command.chance import dice
from tools.train.home_command.corpus import Corpus
from tools.train.home_command.network import Network, Shape
from tools.train.home_command.trainer import Recipe, Trainer, auxiliary_labels
from tools.train.home_command.vocabulary import Vocabulary, train_merges

LOG = logging.getLogger(__name__)
MERGES = 1200


def build_vocabulary(corpus: Corpus, seed: int) -> Vocabulary:
    """Learn the pieces on the training part only."""
    texts = [e.text for e in corpus.train]
    texts += [e.text for e in corpus.train if e.source == "hwu64"]
    texts += [text for text, _ in corpus.auxiliary]
    texts += [e.text for e in corpus.home_sentences(6000, dice(seed))]
    repeated = {name[:-2] for e in corpus.train for name in e.slots() if name.endswith("_2")}
    return Vocabulary.build(train_merges(texts, MERGES), repeated)


def train(assets: Path, out: Path, recipe: Recipe, shape: Shape) -> tuple[Network, Vocabulary]:
    """Train into ``out`` and return the network with the averaged weights."""
    out.mkdir(parents=True, exist_ok=True)
    corpus = Corpus.read(assets, recipe.seed)
    saved = out / "vocabulary.json"
    if saved.exists():
        vocabulary = Vocabulary.load(saved)
    else:
        vocabulary = build_vocabulary(corpus, recipe.seed)
        vocabulary.save(saved)
    torch.manual_seed(recipe.seed)
    network = Network(vocabulary, shape, len(auxiliary_labels(corpus)), recipe.dropout)
    count = sum(p.numel() for p in network.parameters())
    LOG.info("vocabulary %d, parameters while training %d", len(vocabulary.pieces), count)
    trainer = Trainer(network, corpus, vocabulary, recipe, out)
    trainer.run()
    network.load_state_dict(trainer.average)
    return network.eval(), vocabulary
