"""Made-up heads: a grid on which every voxel is labelled with its tissue, in millimetres and different each time.

Ellipsoids and planes give the plan that all heads share, smooth noise the folds, the thicknesses and the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIELD_OF_VIEW = (224.0, 224.0, 120.0)  # millimetres, for any number of voxels

(AIR, SKIN, FAT, BONE, MARROW, MUSCLE, FLUID, VENTRICLE) = range(8)
(GREY, WHITE, NUCLEUS, VESSEL, PLEXUS, CAP, MUCOSA, LIPOMA) = range(8, 16)

Triple = tuple[float, float, float]
Ellipsoid = tuple[Triple, Triple]

# Centre and radii in millimetres of one side's structures: x outwards from the midline, y to the back, z up.
_VENTRICLES: tuple[Ellipsoid, ...] = (
    ((8, -26, 64), (5, 17, 9)),
    ((11, -4, 71), (6, 25, 8)),
    ((21, 27, 62), (7, 15, 10)),
    ((31, 8, 40), (3, 15, 4)),
    ((0, 0, 54), (2.5, 13, 9)),
    ((0, 30, 16), (6, 5, 9)),
)
_NUCLEI: tuple[Ellipsoid, ...] = (((11, 4, 56), (8, 14, 9)), ((25, -12, 56), (6, 16, 10)), ((14, -28, 66), (4, 8, 8)))
_FACE: tuple[tuple[Ellipsoid, int], ...] = (
    (((0, -70, 6), (16, 30, 20)), MUCOSA),
    (((34, -64, 12), (20, 22, 17)), FAT),
    (((34, -74, 12), (12, 12, 12)), FLUID),  # the eye
    (((33, -50, 12), (3, 18, 3)), MUSCLE),
    (((50, 16, 2), (14, 14, 12)), BONE),
)
_MASTOID: Ellipsoid = ((48, 20, 0), (14, 12, 9))
_SYLVIAN_FISSURE: Ellipsoid = ((46, -12, 50), (11, 2.2, 14))
_CISTERN: Ellipsoid = ((0, 4, 18), (22, 19, 28))
_BRAINSTEM: Ellipsoid = ((0, 8, 14), (15, 14, 36))
_PLEXUS: Ellipsoid = ((20, 24, 60), (3, 6, 5))


@dataclass(frozen=True)
class Head:
    """A head's coordinates and tissues, each an array ``[x, y, z]``.

    Attributes:
        x: Millimetres from the midline to the patient's left.
        y: Millimetres from the middle to the back.
        z: Millimetres upwards from the eyes.
        skin_depth: Millimetres inwards from the skin.
        brain_depth: Millimetres inwards from the brain's surface; set by ``label_tissues``, as the labels are.
        labels: uint8, one of this module's tissues.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    skin_depth: np.ndarray
    brain_depth: np.ndarray
    labels: np.ndarray

    def inside(self, ellipsoid: Ellipsoid, grow: float = 0.0) -> np.ndarray:
        """Return where an ellipsoid and its mirror image are, both ``grow`` millimetres larger."""
        (x, y, z), (a, b, c) = ellipsoid
        across, along, up = (np.abs(self.x) - x) / (a + grow), (self.y - y) / (b + grow), (self.z - z) / (c + grow)
        return across**2 + along**2 + up**2 < 1

    def distance(self, voxel: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Return the distance from a voxel in units of the radii, millimetres along x, y and z."""
        x, y, z = ((axis - axis[tuple(voxel)]) / radius for axis, radius in zip(self.axes, radii, strict=True))
        return np.sqrt(x**2 + y**2 + z**2)

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three coordinates."""
        return self.x, self.y, self.z


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], cells: tuple[int, ...]) -> np.ndarray:
    """Return float32 noise of mean 0 and variance 1: a cubic B-spline with ``cells`` random knots along each axis.

    The knots span the whole grid, so the same draw on a finer grid is the same field.
    """
    field = rng.standard_normal([count + 3 for count in cells], dtype=np.float32)
    for length, count in zip(shape, cells, strict=True):
        centres = (np.arange(length, dtype=np.float32) + 0.5) / length * count
        away = np.abs(centres[:, None] + 1 - np.arange(count + 3, dtype=np.float32))
        weights = np.where(away < 1, 2 / 3 - away**2 + away**3 / 2, np.clip(2 - away, 0, None) ** 3 / 6)
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        field = np.tensordot(field, weights, axes=(0, 1))
    return field


def make_head(rng: np.random.Generator, shape: tuple[int, int, int]) -> Head:
    """Return a head on a grid of ``FIELD_OF_VIEW``: its pose and proportions, then tissues from outside to inside."""
    head = _place_head(rng, shape)
    _label_skull(rng, head)
    _label_brain(rng, head)
    _label_depths(rng, head)
    _label_vessels(rng, head)
    return head


def _place_head(rng: np.random.Generator, shape: tuple[int, int, int]) -> Head:
    axes = [((np.arange(n, dtype=np.float32) + 0.5) / n - 0.5) * w for n, w in zip(shape, FIELD_OF_VIEW, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    turn, tilt, nod = rng.normal(0, (0.07, 0.04, 0.06))
    width, length, height = rng.normal(1, (0.04, 0.04, 0.03)) * rng.uniform(0.95, 1.04)
    x, y = (x - rng.normal(0, 3)) / width, (y - rng.normal(8, 3)) / length
    x, y = x * np.cos(turn) + y * np.sin(turn) + tilt * z, y * np.cos(turn) - x * np.sin(turn) + nod * z
    z = (z + FIELD_OF_VIEW[2] / 2) / height + rng.normal(0, 3)
    radius = np.sqrt((x / 74) ** 2 + (y / 94) ** 2 + (np.clip(z - 25, 0, None) / 98) ** 2)
    nose = 1 - np.sqrt((x / 14) ** 2 + ((y + 90) / 22) ** 2 + (z / 22) ** 2)
    skin_depth = np.maximum((1 - radius) * 80 + 1.5 * smooth_noise(rng, shape, (5, 5, 3)), nose * 16)
    # The temporal poles reach further to the front than the brain between them.
    front = -24 - 22 * np.exp(-(((np.abs(x) - 36) / 16) ** 2))
    floor = np.minimum(z - 26 + 1.2 * np.clip(y - front, 0, None), _petrous_clearance(x, y, z))
    brain_depth = np.minimum(skin_depth - rng.uniform(12, 14), floor)
    x, y, z = (axis + 2.5 * smooth_noise(rng, shape, (7, 7, 5)) for axis in (x, y, z))
    return Head(x, y, z, skin_depth, brain_depth, np.full(shape, AIR, dtype=np.uint8))


def _petrous_clearance(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return millimetres to the ridges of the temporal bones, which part the middle from the posterior fossa."""
    beside = np.abs(x)
    thickness = np.clip(16 - z, 0, 9) * np.clip((beside - 16) / 20, 0, 1)
    across = np.abs(y - 4 - 0.45 * (beside - 30)) - thickness
    return np.where(beside > 16, across + 2 * np.clip(z - 16, 0, None), 99)


def _label_skull(rng: np.random.Generator, head: Head) -> None:
    """Label what is between skin and brain: scalp, skull, and at the base orbits, nose and mastoids."""
    labels, depth = head.labels, head.skin_depth
    scalp = 5.5 + 1.5 * smooth_noise(rng, labels.shape, (5, 5, 3)) + 2 * (head.y > 60)
    skull = scalp + 5.5 + 0.8 * smooth_noise(rng, labels.shape, (6, 6, 4))
    labels[depth > 0] = SKIN
    labels[depth > 1.8] = FAT
    labels[depth > scalp] = BONE
    labels[(depth > scalp + 2) & (depth < skull - 2)] = MARROW
    face = (depth > skull) | ((depth > 3) & (head.y < -55) & (head.z < 26))
    labels[face] = np.where(smooth_noise(rng, labels.shape, (14, 14, 8)) > 0.4, FAT, MUSCLE)[face]
    for ellipsoid, tissue in _FACE:
        labels[head.inside(ellipsoid) & (depth > 2)] = tissue
    cells = smooth_noise(rng, labels.shape, (20, 20, 6)) > rng.uniform(-1, 0.3)
    labels[cells & ((labels == MUCOSA) | head.inside(_MASTOID))] = AIR


def _label_brain(rng: np.random.Generator, head: Head) -> None:
    """Label cortex, white matter, cerebellum and brainstem, and the fluid around and between them."""
    labels, depth = head.labels, head.brain_depth
    sulcus = np.abs(smooth_noise(rng, labels.shape, (26, 30, 12))) * 14 - 1.5
    ribbon = np.where(depth < 22, np.minimum(depth, sulcus), depth)
    labels[depth > -2] = FLUID
    labels[(depth > 0) & (ribbon > 0)] = GREY
    labels[(depth > 3.5) & (ribbon > 4.5)] = WHITE
    cerebellum = (head.z < 34 - 0.2 * head.y) & (head.y > 16) & (depth > 1)
    folia = np.sin(1.3 * head.y + 0.5 * np.abs(head.x)) > 0
    labels[cerebellum] = np.where(folia, GREY, WHITE)[cerebellum]
    labels[head.inside(_CISTERN) & (smooth_noise(rng, labels.shape, (9, 9, 5)) > 0) & (depth > 0)] = FLUID
    labels[head.inside(_BRAINSTEM)] = WHITE
    fissure = (np.abs(head.x) < 1.4) & ((head.y < -42) | (head.y > 40) | (head.z > 84))
    labels[(fissure & (depth > 0)) | head.inside(_SYLVIAN_FISSURE)] = FLUID


def _label_depths(rng: np.random.Generator, head: Head) -> None:
    """Label deep grey matter, and ventricles with plexus and caps; how wide they are differs as it does with age."""
    labels = head.labels
    wider, cap, plexus = rng.uniform(-1.2, 3), rng.uniform(0, 5), rng.uniform(-1, 2)
    patchy = smooth_noise(rng, labels.shape, (10, 10, 6)) > rng.uniform(-0.5, 1)
    for nucleus in _NUCLEI:
        labels[head.inside(nucleus)] = NUCLEUS
    for ventricle in _VENTRICLES[:3]:
        labels[head.inside(ventricle, wider + cap) & patchy & (labels == WHITE)] = CAP
    for ventricle in _VENTRICLES:
        labels[head.inside(ventricle, wider)] = VENTRICLE
    labels[head.inside(_PLEXUS, plexus) & (labels == VENTRICLE)] = PLEXUS


def _label_vessels(rng: np.random.Generator, head: Head) -> None:
    """Label the sagittal sinus, vessels where two noises cross zero, and up to two lipomas on the brain's surface."""
    labels, depth = head.labels, head.brain_depth
    top = (head.z > 20) & ((head.y > 50) | (head.z > 100))
    labels[(np.abs(head.x) < 5) & (np.abs(depth) < 3) & top] = VESSEL
    first, second = (np.abs(smooth_noise(rng, labels.shape, (12, 12, 6))) for _ in range(2))
    labels[(first < 0.12) & (second < 0.12) & (depth > 0)] = VESSEL
    home = np.argwhere((depth > -1) & (depth < 8) & (labels == FLUID) & (head.z > 30))
    for middle in home[rng.integers(len(home), size=rng.integers(0, 3))]:
        labels[(head.distance(middle, rng.uniform(5, 11, 3)) < 1) & (depth > -1)] = LIPOMA
