"""Schedules: functions of the step that are values. They print, compare, pickle, and are pytrees of their numbers.

Called with the step, from 0 on, they compute in the default real dtype: float32 unless x64 is on, which counts steps
exactly up to 2^24. Lengths are in steps; numbers may be traced, or arrays of shape (). torch: torch.optim.lr_scheduler.
"""

from gradxform.schedules.cycles import (
    cosine_onecycle_schedule as cosine_onecycle_schedule,
    cyclic_schedule as cyclic_schedule,
    linear_onecycle_schedule as linear_onecycle_schedule,
    sgdr_schedule as sgdr_schedule,
)
from gradxform.schedules.decays import (
    constant_schedule as constant_schedule,
    cosine_decay_schedule as cosine_decay_schedule,
    exponential_decay as exponential_decay,
    linear_schedule as linear_schedule,
    polynomial_schedule as polynomial_schedule,
)
from gradxform.schedules.pieces import (
    piecewise_constant_schedule as piecewise_constant_schedule,
    piecewise_interpolate_schedule as piecewise_interpolate_schedule,
)
from gradxform.schedules.powers import power_schedule as power_schedule, rsqrt_schedule as rsqrt_schedule
from gradxform.schedules.schedule import (
    AddSchedules as AddSchedules,
    JoinSchedules as JoinSchedules,
    MultiplySchedules as MultiplySchedules,
    Schedule as Schedule,
    add_schedules as add_schedules,
    join_schedules as join_schedules,
    multiply_schedules as multiply_schedules,
)
from gradxform.schedules.warmups import (
    warmup_constant_schedule as warmup_constant_schedule,
    warmup_cosine_decay_schedule as warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
    warmup_stable_decay as warmup_stable_decay,
)
