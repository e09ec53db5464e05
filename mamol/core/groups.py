"""The options of a run, group by group: default, what each may be, and its meaning."""

from dataclasses import dataclass, field, fields
from typing import Any

from mamol.core import options as o
from mamol.core.backbone import ACTIVATIONS
from mamol.core.head import HEADS
from mamol.core.method import METHODS
from mamol.core.names import SPLITS
from mamol.core.network import NETWORKS
from mamol.core.options import option

AUGMENT = ("flips", "turns")
FUSIONS = ("late", "single_stream")


@dataclass(frozen=True)
class RunSettings:
    """Which run."""

    exp_name: str = option("mamol", o.NAME, "results lie in <log_dir>/<exp_name>_seed<seed>/", decides=False)
    log_dir: str = option("result", o.TEXT, "folder of all runs", decides=False)
    seed: int = option(0, o.SEED, "of initial weights, sample order and missing patterns")
    load_path: str = option(
        "", o.TEXT, "checkpoint, or run folder, to test, to predict with, or to start training from", decides=False
    )
    resume_from: str = option(
        "", o.TEXT, "last.ckpt of an interrupted run: goes on where it stopped, in that run's folder", decides=False
    )
    test_only: bool = option(False, o.FLAG, "only test load_path", decides=False)
    plugins: tuple[str, ...] = option(
        "", o.FILES, "Python files that register methods, heads, backbones, tasks or datasets", decides=False
    )


@dataclass(frozen=True)
class DataSettings:
    """Which samples, and in what form."""

    data_root: str = option(
        "", o.TEXT, "folder with train.arrow, val.arrow, test.arrow (make_arrow.py writes it)", decides=False
    )
    dataset: str = option(
        "", o.TEXT, 'refuse tables of another dataset, by its name in make_arrow.py; "" takes any', decides=False
    )
    modalities: tuple[str, ...] = option(
        "", o.NAMES, 'use only these modalities of the table, in this order: hsi,lidar; "" takes all'
    )
    image_size: int | None = option(
        None,
        o.optional(o.integer(1)),
        "side of images in pixels, a multiple of the backbone's patch; None is the backbone's own (224)",
    )
    window_shift: int | None = option(
        None,
        o.optional(o.integer(0)),
        "of head=pixels: shift training windows at random by so many pixels at most; None: as far as the table allows",
    )
    augment: tuple[str, ...] = option(
        "",
        o.words("some of flips, turns", AUGMENT.__contains__, lambda given: tuple(n for n in AUGMENT if n in given)),
        "of networks that classify every pixel: flips and right-angle turns of training windows with their labels, "
        'flips,turns; "" is none',
    )
    normalise: bool = option(
        True, o.FLAG, "per band, with mean and std of the training pixels; images always with those of CLIP"
    )


@dataclass(frozen=True)
class MissingSettings:
    """Which modalities of which samples go missing."""

    missing_ratio: dict[str, float] = option(
        dict.fromkeys(SPLITS, 0.7), o.per_split(o.RATE), "share of incomplete samples, 0 to 1"
    )
    missing_type: dict[str, str] = option(
        dict.fromkeys(SPLITS, "both"), o.per_split(o.KIND), "a modality, a+b (together), both or all"
    )
    availability: dict[str, float] = option(
        None, o.RATES, 'instead of ratio and type: share of samples that have each modality, {"sar": 0.75}'
    )
    availability_reading: str = option(
        "independent",
        o.choice("independent", "overall"),
        "independent draws, or overall: no sample misses more than one",
    )
    resample_missing: bool = option(False, o.FLAG, "draw the training patterns anew each epoch")
    test_ratio: float | None = option(None, o.optional(o.RATE), "overrides missing_ratio of the test split")
    test_type: str | None = option(None, o.optional(o.KIND), "overrides missing_type of the test split")

    def of(self, split: str) -> tuple[float, str]:
        """Missing rate and type of a split; ``test_ratio`` and ``test_type`` override those of test only.

        Args:
            split: ``train``, ``val`` or ``test``.
        """
        ratio, kind = self.missing_ratio[split], self.missing_type[split]
        if split == "test":
            ratio = ratio if self.test_ratio is None else self.test_ratio
            kind = kind if self.test_type is None else self.test_type
        return ratio, kind

    def overridden(self, split: str) -> bool:
        """Whether ``test_ratio`` or ``test_type`` stand in place of ``availability``.

        Args:
            split: ``train``, ``val`` or ``test``.
        """
        return split == "test" and not (self.test_ratio is None and self.test_type is None)


@dataclass(frozen=True)
class NetworkSettings:
    """The network; of the one with a frozen part: that, how modalities meet, and what reads them."""

    network: str = option(
        "clip",
        o.Registered(NETWORKS),
        "clip (frozen, with a method), unet, perceiver or dis2: trained whole, classify every pixel; they refuse a "
        "method, fusion or head and ignore backbone, clip_weights, activation",
    )
    backbone: str = option(
        "ViT-B-16-quickgelu",
        o.TEXT,
        "an open_clip ViT, timm:<name> (DINOv2, DINOv3, MAE, SigLIP, ...), a folder of pretrain, or tiny: a small "
        "offline stand-in with random weights; of pretrain itself tiny, small or base",
    )
    clip_weights: str = option(
        "openai",
        o.TEXT,
        "openai (of timm:<name>: what was published, out of the cache), a file, a folder of Hugging Face or timm, or "
        "random (means nothing as a CLIP result)",
        decides=False,
    )
    activation: str = option(
        "auto",
        o.choice(*ACTIVATIONS),
        "of the frozen MLPs: auto (what the weights were trained with), quickgelu or gelu",
    )
    fusion: str = option(
        "late",
        o.choice(*FUSIONS),
        "modalities meet behind the tower, or in it as one sequence: single_stream (ViLT's way)",
    )
    head: str = option(
        "class",
        o.Registered(HEADS),
        "what makes logits: class (of the class token, for the pixel in the middle) or pixels (of every token)",
    )
    head_blocks: str | tuple[int, ...] | None = option(
        None,
        o.optional(o.BLOCKS),
        "of head=pixels: blocks behind which it reads all tokens besides those of the last one: [3, 7], first2, ...",
    )
    compensate: bool = option(
        False, o.FLAG, "of fusion=late: learn from complete samples what stands in place of an absent modality's zeros"
    )
    train_backbone: bool | str = option(
        False,
        o.TRAINED,
        "train the tower, too: True, or last<n>, its last n blocks and last norm; use a small learning_rate",
    )
    merged_ranks: tuple[int, ...] | None = option(
        None,
        o.optional(o.counts(0)),
        "rank of what merge put into the MLP of each block, one number per block; None: those of load_path if it was "
        "merged, else none",
    )
    volumetric: bool = option(
        False, o.FLAG, "of network=perceiver: a 3-D U-Net over all bands, too, which sees what lies around a pixel"
    )


@dataclass(frozen=True)
class MethodSettings:
    """What is added to the frozen part."""

    method: str = option(
        "mamol", o.Registered(METHODS), "what is added to the frozen tower; `python run.py methods` lists them"
    )
    rank: int = option(8, o.integer(1), "rank r of every low-rank expert")
    experts_dynamic: int = option(2, o.integer(1), "number K_d of routed experts per layer")
    top_k: int | None = option(
        None,
        o.optional(o.integer(1)),
        "how many of them a token uses; None is the method's own: 1, or 2 in moe_ada",
    )
    expert_blocks: str | tuple[int, ...] = option(
        "last6", o.BLOCKS, "blocks with experts: last6, first6, last2, ... or a list such as [0, 11]"
    )
    experts_per_block: tuple[int, ...] | None = option(
        None,
        o.optional(o.COUNTS),
        "routed experts of each of the expert_blocks, [2, 1, 1], as prune leaves them; None: those of load_path if "
        "it was pruned, else experts_dynamic in all",
    )
    dynamic_experts: bool = option(True, o.FLAG, "False removes the routed experts (Table 5)")
    shared_expert: bool = option(True, o.FLAG, "False removes the shared expert (Table 5)")
    modality_experts: bool = option(True, o.FLAG, "False removes the experts per modality (Table 5)")
    router_input: str = option(
        "both",
        o.choice("both", "features", "pattern", "modality"),
        "what the router sees: both, features, pattern, or modality (both, and of which modality the token is)",
    )
    gate_renormalise: bool = option(False, o.FLAG, "let the kept gates sum to one")
    balance_weight: float | None = option(
        None,
        o.optional(o.NOT_NEGATIVE),
        "of a load-balancing loss on routed experts; None: 0 in mamol, 0.01 moe_rep, 0.001 moe_ada",
    )
    prompt_length: int | None = option(
        None,
        o.optional(o.integer(1)),
        "prompts per layer; None is the method's own: 16 in mmp, 36 in dcp (three kinds together)",
    )
    prompt_depth: int = option(6, o.integer(1), "layers with prompts, from the first on (mmp, dcp)")
    prompt_type: str = option(
        "input", o.choice("input", "attention"), "of mmp: input (tokens) or attention (keys and values)"
    )
    moe_task_form: str = option(
        "eq9", o.choice("eq9", "moelora"), "of moe_task: eq9 (features and pattern) or moelora (pattern alone)"
    )
    adapter_scale: float = option(
        1.0, o.FINITE, "of released: factor of its adapter's output; 0.2 in its image-text form"
    )
    train_end: bool = option(
        False, o.FLAG, "of released: train copies of the towers' last norms and of the visual projection, too"
    )
    extra: dict[str, Any] = field(default_factory=dict)
    """Options of methods that register themselves from a plugin, by name."""

    def chosen(self) -> dict[str, Any]:
        """The options that the method reads, its own defaults where they are None.

        Raises:
            MamolError: There is no such method, or its options do not fit each other.
        """
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return METHODS.find(self.method).resolve(own | self.extra)


@dataclass(frozen=True)
class TrainingSettings:
    """How the trainable part is trained."""

    optim_type: str = option("adamw", o.choice("adamw", "adam", "sgd"), "adamw, adam or sgd")
    learning_rate: float = option(2e-3, o.POSITIVE, "at the end of the warm-up")
    weight_decay: float = option(2e-2, o.NOT_NEGATIVE, "on matrices; biases and norms have none")
    warmup_steps: float = option(
        0.1, o.NOT_NEGATIVE, "share of the steps (below 1) or number of steps of linear warm-up"
    )
    max_epoch: int = option(201, o.integer(1), "passes over the training table (the release; the paper does not say)")
    max_steps: int | None = option(None, o.optional(o.integer(1)), "stops earlier, after this many optimiser steps")
    batch_size: int = option(128, o.integer(1), "samples per optimiser step, reached by accumulation")
    per_gpu_batchsize: int = option(128, o.integer(1), "samples per device at once")
    class_weight: str = option(
        "none",
        o.choice("none", "balanced"),
        "balanced: every class counts the same in the loss, however few its pixels",
    )
    loss: str = option(
        "ce",
        o.choice("ce", "ce+dice"),
        "ce: cross-entropy (of any number of classes per sample: of each); ce+dice adds one less soft Dice",
    )
    gradient_clip: float = option(1.0, o.NOT_NEGATIVE, "global norm; 0 is off")
    val_check_interval: float = option(
        1.0, o.INTERVAL, "validate after this share of an epoch (one step at least), or every so many epochs"
    )
    limit_batches: int | None = option(
        None, o.optional(o.integer(1)), "at most so many batches per epoch and split, for a quick check"
    )
    precision: str | int = option(
        "auto",
        o.choice("auto", 32, "32", "bf16-mixed", "16-mixed"),
        "32, bf16-mixed, 16-mixed; auto is bf16-mixed on GPUs that have it, and 32 for maps",
    )


@dataclass(frozen=True)
class MachineSettings:
    """On what it runs."""

    num_gpus: int | str = option(
        "auto",
        o.either("auto", o.integer(0)),
        "GPUs per node; 0 is the CPU; auto is one where there is one",
        decides=False,
    )
    num_nodes: int = option(1, o.integer(1), "nodes; start the same command on each", decides=False)
    cpu_processes: int = option(1, o.integer(1), "processes when num_gpus=0", decides=False)
    num_workers: int = option(
        0,
        o.integer(0),
        "loading processes per device; windows are one gather per batch, images have to be decoded",
        decides=False,
    )
    threads: int | str = option(
        "auto",
        o.either("auto", o.integer(1)),
        "of the processor's arithmetic; auto takes the cores that are free at the start (OMP_NUM_THREADS wins)",
        decides=False,
    )
    progress_bar: bool = option(True, o.FLAG, "show progress bars", decides=False)
