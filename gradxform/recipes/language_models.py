"""How language models were trained."""

from __future__ import annotations

from typing import Any

import gradxform as gx


def nanochat(
    total_steps: int,
    scale: float = 1.0,
    *,
    weight_decay: float = 0.28,
    width: int = 768,
    weight_dimension_numbers: Any = gx.hidden_matrices,
) -> gx.Transform:
    """nanochat: NorMuon with cautious decay for hidden matrices, Adam with rates of their own for all else.

    Rates rise over 40 steps, stay, and fall to a twentieth over the last 65 hundredths. Of the hidden matrices the
    momentum rises from 0.85 to 0.97 over 400 steps, and falls to 0.9 as the rates fall; their decay falls to 0 along a
    cosine.

    Args:
      total_steps: of the run, at least 115.
      scale: what all rates are multiplied by; the source's is the root of the batch size over 2^19 tokens.
      weight_decay: of hidden matrices at first. The source scales 0.28 by that root, and by the tokens of its model of
        12 layers over those of the run.
      width: of the model; the rates of Adam go with 1 / sqrt(width / 768).
      weight_dimension_numbers: which axes of hidden matrices are rows and columns, as in `scale_by_muon`.

    github.com/karpathy/nanochat at 92d63d4 (July 2026): nanochat/optim.py, setup_optimizer of nanochat/gpt.py, and
    scripts/base_train.py. What it has and this has not: rows of equal norm before the orthogonalisation, and a norm of
    sqrt(min(rows, columns)) after it; one number for each input in the place of each output in matrices with more
    inputs; its Polar Express coefficients have 1.02 for the factor of safety. Its scalars of the residual stream, whose
    rates differ, have the place of "vectors", of which it has no others. In runs so short that the rates fall before
    step 400, the momentum rises until then.
    """
    falling = round(0.65 * total_steps)
    early = total_steps - falling
    rising = min(400, early)
    rates = gx.warmup_stable_decay(1.0, 39, early - 39, falling, 1 / 40, 0.05, "linear")
    momentum = gx.warmup_stable_decay(0.97, rising, early - rising, falling, 0.85, 0.9, "linear")
    adam, axes = scale * (width / 768) ** -0.5, weight_dimension_numbers
    return gx.chain(
        gx.partition(
            {
                "hidden": gx.chain(
                    gx.scale_by_normuon("polar_express", beta=momentum, b2=0.9, weight_dimension_numbers=axes),
                    gx.add_decayed_weights(gx.cosine_decay_schedule(weight_decay, total_steps), cautious=True),
                    gx.scale_by_shape(axes),
                ),
                "embeddings": gx.chain(gx.scale_by_adam(0.8, 0.995, 1e-10), gx.add_decayed_weights(0.001)),
                "heads": gx.chain(gx.scale_by_adam(0.8, 0.96, 1e-10), gx.add_decayed_weights(0.01)),
                "vectors": gx.chain(gx.scale_by_adam(0.8, 0.95, 1e-10), gx.add_decayed_weights(0.05)),
            },
            gx.layer_kinds,
        ),
        gx.scale_by_group(
            {"hidden": 0.02 * scale, "embeddings": 0.3 * adam, "heads": 0.008 * adam, "vectors": 0.005 * scale},
            gx.layer_kinds,
        ),
        gx.scale_by_learning_rate(rates),
    )


def modded_nanogpt(
    total_steps: int = 1285, scale: float = 1.0, *, weight_dimension_numbers: Any = gx.hidden_matrices
) -> gx.Transform:
    """The record of modded-nanogpt: NorMuon and Adam, with cautious decay that follows the square of the rate.

    Rates stay, and fall to 15 hundredths over the last 60 hundredths. Of hidden matrices the momentum rises from 0.85
    to 0.95 over 300 steps, and falls again over the last 50.

    Args:
      total_steps: of the run, at least 52; the record has 1285.
      scale: what all rates are multiplied by.
      weight_dimension_numbers: as in `nanochat`.

    github.com/KellerJordan/modded-nanogpt at f411b3d (August 2026), train_gpt.py: the record of July 17, 2026, track 1.
    What it has and this has not: a batch that grows at a third and at two thirds, with rates 1.52 and 1.73 times as
    large; 15 last steps at the lowest rate; Adam at every other step only, which is `accumulate(..., 2)`; queries and
    keys orthogonalised by pairs of heads; twice the rate for outputs of MLPs; an embedding that is tied to the head for
    two thirds of the run; the lower 16 bits of bfloat16 weights, which is `split_weights`; and one number for each
    input in matrices with more inputs. Embeddings, heads and vectors are as its embedding and its head; its value
    embeddings and scalars have rates of their own.
    """
    falling = round(0.6 * total_steps)
    last = min(50, total_steps // 2)
    rising = min(300, total_steps - last)
    matrices, rest, axes = 0.023 * scale, 0.008 * scale, weight_dimension_numbers
    momentum = gx.warmup_stable_decay(0.95, rising, total_steps - rising - last, last, 0.85, 0.85, "linear")

    def rates(peak: float) -> Any:
        return gx.warmup_stable_decay(peak, 0, total_steps - falling, falling, 0.0, 0.15 * peak, "linear")

    return gx.chain(
        gx.partition(
            {
                "matrices": gx.chain(
                    gx.scale_by_normuon("polar_express", beta=momentum, b2=0.9, weight_dimension_numbers=axes),
                    gx.add_decayed_weights(rates(1.2 * matrices), cautious=True),
                    gx.scale_by_shape(axes),
                ),
                "rest": gx.chain(
                    gx.scale_by_adam(0.5, 0.95, 1e-10),
                    gx.add_decayed_weights(rates(0.75 * rest), gx.not_biases_or_norms(), cautious=True),
                ),
            },
            gx.matrices_and_rest,
        ),
        gx.scale_by_group({"matrices": matrices, "rest": rest}, gx.matrices_and_rest),
        gx.scale_by_learning_rate(rates(1.0)),
    )


def kimi_k2(
    total_steps: int,
    learning_rate: float = 2e-4,
    *,
    query: Any = "*/query/kernel",
    key: Any = "*/key/kernel",
    weight_dimension_numbers: Any = gx.hidden_matrices,
) -> gx.Transform:
    """Kimi K2's MuonClip: Muon with updates of AdamW's size, decay for all, and a clip of attention's logits.

    The rate rises over 500 steps, stays for 10 of 15.5 parts of the run, and falls to a tenth along a cosine.

    Args:
      total_steps: of the run, at least 775.
      learning_rate: the peak.
      query, key: as in `qk_clip`, whose logits `update` is given. query=None: no clip.
      weight_dimension_numbers: as in `nanochat`.

    Kimi Team 2025, arXiv:2507.20534: algorithm 1 (MuonClip, with a largest logit of 100), and rates and a decay of 0.1
    from section 2.5. It does not say what the momentum is, nor what is not Muon's: 0.95 is Muon's default, and
    embeddings, heads and vectors are here AdamW's, with decays of 0.9 and 0.95. The last anneal, to 7e-6, and longer
    contexts are left out.
    """
    steady = round(10 / 15.5 * total_steps) - 500
    falling = total_steps - steady - 500
    axes = weight_dimension_numbers
    rates = gx.warmup_stable_decay(learning_rate, 500, steady, falling, 0.0, 0.1 * learning_rate, "cosine")
    muon = gx.chain(gx.scale_by_muon(weight_dimension_numbers=axes, nesterov=False), gx.scale_by_shape(axes, 0.2))
    steps = (
        gx.partition({"matrices": muon, "rest": gx.scale_by_adam(0.9, 0.95)}, gx.matrices_and_rest),
        gx.add_decayed_weights(0.1),
        gx.scale_by_learning_rate(rates),
    )
    return gx.chain(*steps) if query is None else gx.chain(*steps, gx.qk_clip(query, key, 100.0))


def maxtext(total_steps: int = 150_001, learning_rate: float = 3e-5) -> gx.Transform:
    """MaxText's default: clipped gradients and AdamW, with a warm-up over a tenth and a cosine to a tenth of the rate.

    Args:
      total_steps: of the run, at least 20.
      learning_rate: the peak.

    github.com/AI-Hypercomputer/maxtext at e591f30 (August 2026): src/maxtext/configs/base.yml,
    create_learning_rate_schedule of src/maxtext/utils/maxtext_utils.py, and get_optimizer of
    src/maxtext/optimizers/optimizers.py. Its momentum is kept in the dtype of the weights, ours in float32 at least.
    """
    rates = gx.warmup_cosine_decay_schedule(0.0, learning_rate, total_steps // 10, total_steps - 1, 0.1 * learning_rate)
    return gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(rates, b2=0.95, weight_decay=0.1))
