"""A recipe's teacher, opened; nothing heavy is imported but what the chosen one needs."""

import os
from pathlib import Path

from tools.distill.asking import ClassTeacher
from tools.distill.fault import RecipeError
from tools.distill.table import Material
from tools.distill.teachers import spec as kinds


def open_teacher(
    spec: kinds.TeacherSpec, material: Material, assets: Path, folder: Path, seed: int
) -> ClassTeacher:
    """Make the teacher of a recipe; one that is fitted learns from `material.train` alone.

    Raises:
        DistillError: it is not there, or cannot be what the recipe says.
    """
    labels = material.labels
    match spec:
        case kinds.SmoothedEnsemble():
            return _ensemble(spec, material, assets, folder, seed)
        case kinds.Endpoint():
            from tools.distill.teachers.endpoint import EndpointTeacher, Purse  # noqa: PLC0415

            key = os.environ.get(spec.key_env, "") if spec.key_env else ""
            purse = Purse(folder / "spent.json", spec.money)
            return EndpointTeacher(spec, labels, purse, key)
        case kinds.Gguf():
            from tools.distill.teachers.gguf import GgufTeacher  # noqa: PLC0415

            return GgufTeacher(spec, assets / spec.path, labels)
        case kinds.Transformer() | kinds.Scikit() | kinds.Network() | kinds.Convolutions():
            return _fitted(spec, material, assets, folder, seed)
        case kinds.Litert():
            from tools.distill.teachers.litert import LitertTeacher  # noqa: PLC0415

            return LitertTeacher(assets / spec.path, spec.sha256)
        case kinds.Expert():
            from aiosd.client import Client  # noqa: PLC0415
            from tools.distill.teachers.expert import ExpertTeacher  # noqa: PLC0415

            return ExpertTeacher(Client(spec.sockets or None), spec.name, labels)
    raise RecipeError(f"a teacher of kind {type(spec).__name__} has no logits for labels")


def _fitted(
    spec: kinds.Transformer | kinds.Scikit | kinds.Network | kinds.Convolutions,
    material: Material,
    assets: Path,
    folder: Path,
    seed: int,
) -> ClassTeacher:
    """Make a teacher that learns the labels here."""
    classes = len(material.labels)
    match spec:
        case kinds.Transformer():
            from tools.distill.teachers.transformer import (  # noqa: PLC0415
                Encoder,
                TransformerTeacher,
                folder_of,
            )

            encoder = Encoder(folder_of(spec.path, assets), spec.sha256)
            if spec.layers:
                from tools.distill.teachers.tuned import TunedTeacher  # noqa: PLC0415

                return TunedTeacher(spec, encoder, material.train, classes, (folder, seed))
            return TransformerTeacher(spec, encoder, material.train, classes)
        case kinds.Scikit():
            from tools.distill.teachers.scikit import ScikitTeacher  # noqa: PLC0415

            return ScikitTeacher(spec, material.train, classes)
        case kinds.Network():
            from tools.distill.teachers.network import NetworkTeacher  # noqa: PLC0415

            return NetworkTeacher(spec, material.train, seed)
        case kinds.Convolutions():
            from tools.distill.teachers.convolutions import ConvolutionsTeacher  # noqa: PLC0415

            return ConvolutionsTeacher(spec, material.train, classes, (folder, seed))


def _ensemble(
    spec: kinds.SmoothedEnsemble, material: Material, assets: Path, folder: Path, seed: int
) -> ClassTeacher:
    from tools.distill.teachers.ensemble import EnsembleTeacher  # noqa: PLC0415

    members = [open_teacher(each, material, assets, folder, seed) for each in spec.members]
    return EnsembleTeacher(members, [each.weight for each in spec.members], material.tuning)
