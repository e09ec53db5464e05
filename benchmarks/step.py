"""Training step and forward pass of ViT-B/16 against the release's way in plain form."""

from benchmarks.harness import Figure, alternate, ratio_figure
from benchmarks.plain import PlainNetwork
from benchmarks.workload import BACKBONE, BATCH_OF_8, batch, frozen_tower, inference, network, training_step

OURS, PLAIN = "ours", "released way, plain"
LIMIT = 0.63


def run(backbone: str = BACKBONE, rounds: int = 3) -> list[Figure]:
    """Both figures.

    Args:
        backbone: Tower.
        rounds: Timed calls of each.
    """
    data = batch(BATCH_OF_8)
    model = network(frozen_tower(backbone), backbone=backbone)
    plain = PlainNetwork(model)
    what = f"{backbone}, batch 8 with 11 of 16 streams present"
    steps = alternate({OURS: training_step(model, data), PLAIN: training_step(plain, data)}, rounds)
    passes = alternate({OURS: inference(model, data), PLAIN: inference(plain, data)}, rounds)
    return [
        ratio_figure("training step", steps, OURS, PLAIN, at_most=LIMIT, note=what),
        ratio_figure("forward only", passes, OURS, PLAIN, at_most=LIMIT, note=what),
    ]
