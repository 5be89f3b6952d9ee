"""Half precision inside, float32 outside."""

from __future__ import annotations

import torch
from monai.inferers import SimpleInferer, SliceInferer

from monai_brainseg.inferers import HalfPrecisionInferer, half_precision

CPU = torch.device("cpu")


def test_network_runs_in_bfloat16_and_its_answer_is_float32() -> None:
    seen = []
    network = torch.nn.Conv2d(3, 2, 3, padding=1)
    network.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    images = torch.rand(2, 3, 16, 16)
    answer = HalfPrecisionInferer(SimpleInferer(), CPU)(images, network)
    assert seen == [half_precision(CPU)] == [torch.bfloat16]
    assert answer.dtype == torch.float32
    assert torch.allclose(answer, network(images), atol=0.02)


def test_amp_off_is_exactly_the_network() -> None:
    network, images = torch.nn.Conv2d(3, 2, 3), torch.rand(2, 3, 16, 16)
    assert torch.equal(HalfPrecisionInferer(SimpleInferer(), CPU, amp=False)(images, network), network(images))


def test_whole_volumes_cached_in_float16_go_through_a_slice_inferer() -> None:
    network = torch.nn.Conv2d(3, 2, 3, padding=1)
    inferer = HalfPrecisionInferer(SliceInferer(roi_size=(16, 16), spatial_dim=2), CPU)
    assert inferer(torch.rand(1, 3, 20, 24, 5).half(), network).shape == (1, 2, 20, 24, 5)


def test_a_device_may_be_named_by_a_text_as_a_label_server_does() -> None:
    assert half_precision("cpu") == torch.bfloat16
    assert HalfPrecisionInferer(SimpleInferer(), "cpu").device == CPU
