"""What is done to the images of a case, to see what it costs: lost sequences, other scanners, and studies that are odd.

A change takes ``[4, x, y, z]`` in float32, pre-contrast, FLAIR, post-contrast and the mask, and a random generator, and
returns the same, of another grid where it changes the place or the size.
"""

from __future__ import annotations

from collections.abc import Callable

import monai.transforms as mt
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from monai_brainseg.training.augment import measure_depth

Stack = torch.Tensor
Change = Callable[[Stack, np.random.Generator], Stack]

_RIM = 12  # pixels of 1 mm; of the LGG set, whose spacing is unknown, of about that


def of_images(change: Callable[[Stack], Stack]) -> Change:
    """Return a change that leaves the mask as it is."""
    return lambda stack, rng: torch.cat([torch.as_tensor(change(stack[:-1])), stack[-1:]])


def of_place(change: Callable[..., Stack]) -> Change:
    """Return a change of place or size that moves the mask by its nearest neighbours."""
    return lambda stack, rng: torch.cat(
        [torch.as_tensor(change(stack[:-1], mode="bilinear")), torch.as_tensor(change(stack[-1:], mode="nearest"))]
    )


def of_frequencies(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Change:
    """Return a change of each slice's Fourier transform, ``[x, y, z]`` complex, of one sequence at a time."""

    def whole(stack: Stack, rng: np.random.Generator) -> Stack:
        images = [
            np.abs(np.fft.ifft2(change(np.fft.fft2(i, axes=(0, 1)), rng), axes=(0, 1))) for i in stack[:-1].numpy()
        ]
        return torch.cat([torch.from_numpy(np.stack(images).astype(np.float32)), stack[-1:]])

    return whole


def choose(*sequences: int) -> Change:
    """Return a change that puts these sequences in the place of the three."""
    return of_images(lambda images: images[list(sequences)])


def bend(exponent: float) -> Change:
    """Return a change of each image's contrast curve, by gamma between its least and greatest value."""
    return of_images(lambda images: torch.stack([mt.AdjustContrast(exponent)(image[None])[0] for image in images]))


def draw(transform: mt.RandomizableTransform) -> Change:
    """Return a random change of images, the same for every patient."""

    def change(images: Stack) -> Stack:
        transform.set_random_state(0)
        return torch.as_tensor(transform(images))

    return of_images(change)


def crop_to_head(stack: Stack, rng: np.random.Generator) -> Stack:
    """Cut away all slices, rows and columns that hold only background, as preprocessing for nnU-Net does."""
    return torch.as_tensor(mt.CropForeground(select_fn=lambda image: image > 0, channel_indices=1)(stack))


def blank_rim(stack: Stack, rng: np.random.Generator) -> Stack:
    """Blank scalp and skull roughly, as skull stripping does; the mask stays as it is."""
    images = stack[:-1].permute(3, 0, 1, 2)
    scale = images.flatten(2).quantile(0.99, 2).amax(0)[:, None, None].clamp_min(1e-6)
    kept = measure_depth(images / scale, _RIM + 1) > _RIM
    return torch.cat([stack[:-1] * kept.permute(1, 2, 3, 0), stack[-1:]])


def invert(images: Stack) -> Stack:
    """Return bright as dark within the head."""
    most = images.flatten(1).amax(1)[:, None, None, None]
    return torch.where(images > 0.05 * most, most - images, 0)


def move(spectrum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let the head jump nine times, by some 8 pixels, while the lines of each slice are measured."""
    along = [np.fft.fftfreq(n) for n in spectrum.shape[:2]]
    lines = np.argsort(np.fft.fftfreq(spectrum.shape[1]))
    moved = spectrum.copy()
    for block in np.split(lines, np.sort(rng.integers(0, len(lines), 8))):
        x, y = rng.normal(0, 8, 2)
        phase = np.exp(-2j * np.pi * (along[0][:, None] * x + along[1][block] * y))
        moved[:, block] = spectrum[:, block] * phase[..., None]
    return moved


def spike(spectrum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add three spikes to each slice's spectrum, which are stripes in the image."""
    spiked = spectrum.copy()
    for x, y in rng.integers(5, 60, (3, 2)) * rng.choice([-1, 1], (3, 2)):
        spiked[x, y] += np.abs(spectrum).max() / 4
    return spiked


def ghost(spectrum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weaken every second line, which shows the head again half a field of view away."""
    return spectrum * np.where(np.arange(spectrum.shape[1]) % 2, 1, 0.2)[:, None]


def add_noise(stack: Stack, rng: np.random.Generator) -> Stack:
    """Add noise whose deviation is 0.7 of the tissue's median."""
    tissue = torch.stack([image[image > image.mean()].median() for image in stack[:-1]])[:, None, None, None]
    noise = torch.from_numpy(rng.normal(0, 0.7, stack[:-1].shape).astype(np.float32))
    return torch.cat([(stack[:-1] + noise * tissue).abs(), stack[-1:]])


def show_blobs(stack: Stack, rng: np.random.Generator) -> Stack:
    """Show an ellipse of smooth random blobs, and no brain."""
    shape = stack.shape[1:]
    blobs = gaussian_filter(rng.normal(size=shape), (8, 8, 1))
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:2]), indexing="ij")
    inside = ((axes[0] / 0.6) ** 2 + (axes[1] / 0.9) ** 2 < 1)[..., None]
    image = torch.from_numpy(((blobs - blobs.min()) * inside).astype(np.float32) * 1000)
    return torch.cat([image.expand(3, *shape), torch.zeros_like(stack[-1:])])


def show_bottle(stack: Stack, rng: np.random.Generator) -> Stack:
    """Show a bottle of water with two rods, as scanners are tested with, and no brain."""
    shape = stack.shape[1:]
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:2]), indexing="ij")
    image = np.where(x**2 + y**2 < 0.5, 100.0, 0.0)
    for place in (-0.3, 0.3):
        image[(x - place) ** 2 + y**2 < 0.02] = 300
    noisy = np.abs(image[..., None] + rng.normal(0, 4, shape)).astype(np.float32)
    return torch.cat([torch.from_numpy(noisy).expand(3, *shape), torch.zeros_like(stack[-1:])])


def shuffle(stack: Stack, rng: np.random.Generator) -> Stack:
    """Put blocks of 32 by 32 pixels in another order, so that the tissue is there and no brain."""
    size, shuffled = 32, stack.clone()
    shuffled[-1] = 0
    corners = [
        (x, y) for x in range(0, stack.shape[1] - size + 1, size) for y in range(0, stack.shape[2] - size + 1, size)
    ]
    for (x, y), other in zip(corners, rng.permutation(corners), strict=True):
        block = stack[:-1, other[0] : other[0] + size, other[1] : other[1] + size]
        shuffled[:-1, x : x + size, y : y + size] = block
    return shuffled


SEQUENCES: dict[str, Change] = {
    "unchanged": lambda stack, rng: stack,
    "FLAIR alone": choose(1, 1, 1),
    "without pre-contrast": choose(1, 1, 2),
    "without post-contrast": choose(0, 1, 1),
    "without skull, roughly": blank_rim,
}
SCANNERS: dict[str, Change] = {
    "brightness times 1000": of_images(lambda images: images * 1000),
    "100 added everywhere (of 255), background too": of_images(lambda images: images + 100),
    "gamma 0.5": bend(0.5),
    "gamma 2": bend(2),
    "bias field (coefficients up to 0.5)": draw(mt.RandBiasField(prob=1, coeff_range=(-0.5, 0.5))),
    "Gaussian noise, standard deviation 15 of 255": draw(mt.RandGaussianNoise(prob=1, std=15)),
    "Rician noise, 15 of 255": draw(mt.RandRicianNoise(prob=1, std=15)),
    "smoothed, sigma 1.5 pixels": of_images(mt.GaussianSmooth((1.5, 1.5, 0))),
    "cropped to the head: hardly any background": crop_to_head,
    "turned by 20 degrees": of_place(lambda x, mode: mt.Rotate((0, 0, np.deg2rad(20)), mode=mode)(x)),
    "enlarged by 1.4": of_place(lambda x, mode: mt.Zoom((1.4, 1.4, 1), mode=mode, keep_size=False)(x)),
    "shrunk to 0.7": of_place(lambda x, mode: mt.Zoom((0.7, 0.7, 1), mode=mode, keep_size=False)(x)),
    "every second slice": lambda stack, rng: stack[..., ::2],
    "mirrored, left and right": lambda stack, rng: stack.flip(1),
}
ODD: dict[str, Change] = {
    "no brain: blobs": show_blobs,
    "no brain: bottle": show_bottle,
    "no brain: blocks in another order": shuffle,
    "another contrast: pre-contrast for all": choose(0, 0, 0),
    "another contrast: post-contrast for FLAIR": choose(0, 2, 2),
    "another contrast: FLAIR and pre-contrast exchanged": choose(1, 0, 2),
    "another contrast: inverted": of_images(invert),
    "artefact: motion": of_frequencies(move),
    "artefact: spikes": of_frequencies(spike),
    "artefact: ghosts": of_frequencies(ghost),
    "artefact: noise, 0.7 of the tissue": add_noise,
}
GROUPS = {"sequences": SEQUENCES, "scanners": SCANNERS, "odd": ODD}
T2 = "another contrast: T2 for FLAIR"
