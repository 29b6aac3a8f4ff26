"""The winners of AlgoPerf, MLCommons' competition of training algorithms (results: arXiv:2502.15015)."""

from __future__ import annotations

import gradxform as gx


def algoperf_shampoo(total_steps: int, learning_rate: float = 0.0017486387539278373) -> gx.Transform:
    """The winner of external tuning: Shampoo whose steps have Adam's length, with a warm-up and a cosine to 0.

    Args:
      total_steps: of the run, at least 50.
      learning_rate: the peak.

    Shi et al. 2023, arXiv:2309.06497; the first of the five settings that were tried on each workload, of
    github.com/mlcommons/submissions_algorithms at 12c8e4e (June 2026),
    previous_leaderboards/algoperf_v05/submissions/external_tuning/shampoo_submission/tuning_search_space.json and
    submission.py. What it has and this has not: NAdam's look-ahead; axes of convolutions that are merged, and factors
    for vectors, both of which are AdamW's here; Adam alone until step 100, where the first roots are made; and no
    factors for what is longer than 1,000,000.
    """
    b1, b2, decay = 1 - 0.06733926164, 1 - 0.00448403102, 0.08121616522670176
    shampoo = gx.scale_by_shampoo(b1, b2, 1e-8, precondition_frequency=100, graft="adam", graft_b2=b2)
    return gx.chain(
        gx.partition({"matrices": shampoo, "rest": gx.scale_by_adam(b1, b2)}, gx.labels_by_axes()),
        gx.add_decayed_weights(decay),
        gx.scale_by_learning_rate(gx.warmup_cosine_decay_schedule(0.0, learning_rate, total_steps // 50, total_steps)),
    )


def algoperf_schedule_free(total_steps: int, learning_rate: float = 0.0025) -> gx.Transform:
    """The winner of self-tuning: schedule-free AdamW, one setting for all workloads.

    `eval_params` gives the parameters to judge by.

    Args:
      total_steps: the workload's hint of its length, of which the warm-up is 15 thousandths.
      learning_rate: after the warm-up.

    Defazio et al. 2024, arXiv:2405.15682; github.com/mlcommons/submissions_algorithms at 12c8e4e (June 2026),
    previous_leaderboards/algoperf_v05/submissions/self_tuning/schedule_free_adamw/submission.py. What it has and this
    has not: a step counts in the average by its number to the power 0.75 too; decay of x in the place of y; and a
    start afresh with half the rate where it sees that a run fails.
    """
    return gx.schedule_free_adamw(
        learning_rate,
        warmup_steps=round(0.02 * 0.75 * total_steps),
        b2=0.9955159689799007,
        weight_decay=0.08121616522670176,
    )
