"""The methods by name: what each does, whose idea it is, and which students it fits."""

from dataclasses import dataclass
from typing import Literal

MethodName = Literal[
    "logit-matching",
    "hint",
    "patient",
    "sequence-level",
    "step-by-step",
    "on-policy",
    "relational",
    "error-matching",
    "curriculum",
    "paraphrase",
    "recombine",
    "strange-words",
    "quantize-calibrated",
    "prune",
    "slim",
]
_TEXTS = ("text-classifier", "phrase-classifier")
_CLASSIFIERS = (*_TEXTS, "convolution")


@dataclass(frozen=True)
class Method:
    """One method: in a sentence, its source, the students it fits, and who carries it out."""

    does: str
    source: str
    students: tuple[str, ...]
    by: str


METHODS: dict[MethodName, Method] = {
    "logit-matching": Method(
        "The student matches the teacher's softened probabilities, T² times their divergence, "
        "mixed with the loss on the labels.",
        "G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015",
        (*_CLASSIFIERS, "causal-lm", "slot-lm"),
        "tools/distill/students/loss.py, tools/distill/students/causal.py, "
        "tools/distill/slots/learning.py",
    ),
    "hint": Method(
        "Beside its answers the student's hidden units learn, through a linear map that is thrown "
        "away, every one of the teacher's logits: their squared error, in units of their spread.",
        "A. Romero et al.: FitNets: Hints for Thin Deep Nets, 2015; J. Ba, R. Caruana: Do Deep "
        "Nets Really Need to be Deep?, 2014 (logits by regression)",
        ("phrase-classifier",),
        "tools/distill/students/hint.py",
    ),
    "sequence-level": Method(
        "The student learns the text that the teacher writes, as if it were the truth.",
        "Y. Kim, A. M. Rush: Sequence-Level Knowledge Distillation, 2016",
        ("causal-lm", "slot-lm"),
        "tools/distill/language.py, tools/distill/slots/flow.py",
    ),
    "step-by-step": Method(
        "Beside the answer the student learns the teacher's steps to it, as a second target, "
        "asked for by another mark: nothing is added when it is used.",
        "C.-Y. Hsieh et al.: Distilling Step-by-Step!, 2023",
        ("slot-lm",),
        "tools/distill/slots/reading.py, tools/distill/slots/flow.py",
    ),
    "on-policy": Method(
        "The student writes on, and matches what its teacher holds of each token that it wrote.",
        "R. Agarwal et al.: On-Policy Distillation of Language Models (GKD), 2023; TRL's trainer",
        ("causal-lm",),
        "tools/distill/on_policy.py",
    ),
    "relational": Method(
        "Word vectors learn that their sums are as near to each other as the teacher finds texts.",
        "W. Park et al.: Relational Knowledge Distillation, 2019; words alone as model2vec does",
        ("static-table",),
        "tools/distill/word_table.py, tools/train/meanings.py",
    ),
    "error-matching": Method(
        "A series student errs on a window as much as the teacher does, on ordinary windows and on "
        "such with a fault put in.",
        "after P. Bergmann et al.: Uninformed Students, 2020 (what a teacher gives, by regression)",
        ("series",),
        "tools/distill/anomaly.py",
    ),
    "patient": Method(
        "Teacher and student see the same changed inputs, far from the data too, for long: the "
        "student copies the function, not the labels.",
        "L. Beyer et al.: Knowledge Distillation: A Good Teacher Is Patient and Consistent, 2022",
        _CLASSIFIERS,
        "tools/distill/variants.py",
    ),
    "curriculum": Method(
        "Examples of which the teacher is sure come first, the hard ones later.",
        "Y. Bengio et al.: Curriculum Learning, 2009",
        _CLASSIFIERS,
        "tools/distill/curriculum.py",
    ),
    "paraphrase": Method(
        "More texts of the same kind, made from those that are there, labelled by the teacher.",
        "X. Jiao et al.: TinyBERT, 2020 (augmentation by the teacher's own words)",
        _TEXTS,
        "tools/distill/variants.py",
    ),
    "recombine": Method(
        "Many texts that nobody wrote, labelled by the teacher: two that share a word change over "
        "at it, parts of a text, words left out or exchanged.",
        "R. Tang et al.: Distilling Task-Specific Knowledge from BERT, 2019 (n-grams, masking)",
        _TEXTS,
        "tools/distill/recombining.py",
    ),
    "strange-words": Method(
        "Every word that the student can read and few labelled texts have, alone and in the place "
        "of a near word in a text, labelled by the teacher.",
        "X. Jiao et al.: TinyBERT, 2020 (words replaced by near ones)",
        ("phrase-classifier",),
        "tools/distill/strangers.py",
    ),
    "quantize-calibrated": Method(
        "int8 after training; temperature and thresholds are set on what the int8 file gives.",
        "B. Jacob et al.: Quantization and Training of Neural Networks, 2018; C. Guo et al. 2017",
        _CLASSIFIERS,
        "tools/train/tflite.py, tools/distill/calibrating.py",
    ),
    "prune": Method(
        "The smallest weights go, a little at a time while it learns.",
        "M. Zhu, S. Gupta: To prune, or not to prune, 2017",
        _CLASSIFIERS,
        "tools/distill/students/loop.py",
    ),
    "slim": Method(
        "The student begins with the channels of its teacher that weigh the most in what comes "
        "next, each layer fitted anew to what the whole one gave.",
        "Y. He, X. Zhang, J. Sun: Channel Pruning for Accelerating Very Deep Neural Networks, 2017",
        ("convolution",),
        "tools/distill/students/slimming.py",
    ),
}
