"""How networks that see were trained."""

from __future__ import annotations

import gradxform as gx


def vit(total_steps: int, learning_rate: float = 1e-3, *, warmup_steps: int = 10_000) -> gx.Transform:
    """big_vision's ViT-S/16 on ImageNet: clipped Adam, and kernels that decay without the rate but with its schedule.

        u = -schedule (learning_rate adam(clipped g) + 0.0001 p),   the schedule of peak 1

    Args:
      total_steps: of the run; 90 epochs of the source's batches of 1024 are 111,492.
      learning_rate: the peak.
      warmup_steps: over which the schedule rises; less than total_steps.

    Beyer, Zhai & Kolesnikov 2022, arXiv:2205.01580; github.com/google-research/big_vision at 0127fb6 (May 2025):
    big_vision/configs/vit_s16_i1k.py and big_vision/optax.py.
    """
    return gx.chain(
        gx.clip_by_global_norm(1.0),
        gx.scale_by_adam(mu_dtype="bfloat16"),
        gx.scale(learning_rate),
        gx.add_decayed_weights(1e-4, gx.by_path("*/kernel")),
        gx.scale_by_learning_rate(gx.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps, total_steps)),
    )
