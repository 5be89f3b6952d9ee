"""16 bit inside, float32 outside."""

from __future__ import annotations

import torch
from brainseg_unet_scripts.inferers import AutocastInferer, MirroringInferer
from brainseg_unet_scripts.precision import Amp
from monai.inferers import SimpleInferer, SliceInferer


def watch(network: torch.nn.Module) -> list[torch.dtype]:
    """Return a list to which each answer of the network adds its type."""
    seen: list[torch.dtype] = []
    network.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    return seen


def test_network_runs_in_bfloat16_and_its_answer_is_float32() -> None:
    for amp in (True, torch.bfloat16):
        network = torch.nn.Conv2d(3, 2, 3, padding=1)
        seen, images = watch(network), torch.rand(2, 3, 16, 16)
        answer = AutocastInferer(SimpleInferer(), amp)(images, network)
        assert seen == [torch.bfloat16]
        assert answer.dtype == torch.float32
        assert torch.allclose(answer, network(images), atol=0.02)


def test_without_amp_it_is_exactly_the_network() -> None:
    network, images = torch.nn.Conv2d(3, 2, 3), torch.rand(2, 3, 16, 16)
    choices: tuple[Amp, ...] = (False, torch.float32)
    for amp in choices:
        assert torch.equal(AutocastInferer(SimpleInferer(), amp)(images, network), network(images))


def test_whole_volumes_cached_in_float16_go_through_a_slice_inferer_whose_windows_are_blended_in_float32() -> None:
    network = torch.nn.Conv2d(3, 2, 3, padding=1)
    windows = SliceInferer(roi_size=(16, 16), spatial_dim=2, overlap=0.5, mode="gaussian")
    seen, images = watch(network), torch.rand(1, 3, 20, 24, 5).half()
    answer = AutocastInferer(windows, True)(images, network)
    assert answer.shape == (1, 2, 20, 24, 5)
    assert set(seen) == {torch.bfloat16}
    constant = AutocastInferer(windows, True)(images, lambda x: torch.full_like(x[:, :2], 0.7).bfloat16())
    assert torch.allclose(constant, torch.tensor(0.7).bfloat16().float(), atol=1e-6, rtol=0)


def test_each_of_several_answers_is_float32() -> None:
    def network(images: torch.Tensor) -> list[torch.Tensor]:
        return [images.bfloat16(), images.bfloat16()]

    answers = AutocastInferer(SimpleInferer(), True)(torch.rand(1, 3, 8, 8), network)
    assert [answer.dtype for answer in answers] == [torch.float32] * 2


def test_mirrored_volumes_are_averaged_along_the_first_axis() -> None:
    images = torch.rand(1, 3, 6, 4, 2)

    def take_left(inputs: torch.Tensor, network: object) -> torch.Tensor:
        return inputs[:, :2] * torch.tensor([1.0, 1, 1, 0, 0, 0])[:, None, None]

    def no_network(windows: torch.Tensor) -> torch.Tensor:
        return windows

    half = MirroringInferer(take_left, flip=True)(images, no_network)
    assert torch.allclose(half, images[:, :2] / 2)
    assert torch.equal(MirroringInferer(take_left, flip=False)(images, no_network), take_left(images, no_network))
