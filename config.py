"""Every option with its default and meaning, and the named configurations.

``python run.py print_config with remote`` prints all of it. What each option may be is checked in
``mamol/settings.py``; bands, classes and modalities come from the table, never from here.
"""

from sacred import SETTINGS, Experiment

from mamol.methods import METHODS
from mamol.reproduce.tables import ABLATIONS, TABLES

# By file descriptor, Sacred would also capture what Lightning's other processes print.
SETTINGS.CAPTURE_MODE = "sys"

ex = Experiment("mamol", save_git_info=False)


# The paper's settings where it states them; docs/FIDELITY.md has every deviation.
# No docstrings in this file: Sacred would take them for options.
@ex.config
def defaults() -> None:
    # --- the run ---
    exp_name = "mamol"  # results lie in <log_dir>/<exp_name>_seed<seed>/
    log_dir = "result"  # folder of all runs
    seed = 0  # of initial weights, sample order and missing patterns
    data_root = ""  # folder with train.arrow, val.arrow, test.arrow (make_arrow.py writes it)
    dataset = ""  # refuse tables of another dataset, by its name in make_arrow.py; "" takes any
    modalities = ""  # use only these modalities of the table, in this order: hsi,lidar; "" takes all
    load_path = ""  # checkpoint, or run folder, to test, to predict with, or to start training from
    resume_from = ""  # last.ckpt of an interrupted run: goes on where it stopped, in that run's folder
    test_only = False  # only test load_path

    # --- the network ---
    method = "mamol"  # what is added to the frozen tower; `python run.py methods` lists them
    backbone = "ViT-B-16-quickgelu"  # an open_clip ViT, or tiny: a small offline stand-in with random weights
    clip_weights = "openai"  # openai, a file, a Hugging Face folder, or random (means nothing as a CLIP result)
    activation = "auto"  # of the frozen MLPs: auto (what the weights were trained with), quickgelu or gelu
    fusion = "late"  # modalities meet behind the tower, or in it as one sequence: single_stream (ViLT's way)
    image_size = None  # side of images in pixels, a multiple of the backbone's patch; None is the backbone's own (224)
    normalise = True  # per band, with mean and std of the training pixels; images always with those of CLIP
    rank = 8  # rank r of every low-rank expert
    experts_dynamic = 2  # number K_d of routed experts per layer
    top_k = None  # how many of them a token uses; None is the method's own: 1, or 2 in moe_ada
    expert_blocks = "last6"  # blocks with experts: last6, first6, last2, ... or a list such as [0, 11]
    dynamic_experts = True  # False removes the routed experts (Table 5)
    shared_expert = True  # False removes the shared expert (Table 5)
    modality_experts = True  # False removes the experts per modality (Table 5)
    router_input = "both"  # what the router sees: both, features or pattern
    gate_renormalise = False  # let the kept gates sum to one
    balance_weight = None  # of a load-balancing loss on routed experts; None: 0 in mamol, 0.01 moe_rep, 0.001 moe_ada
    prompt_length = None  # prompts per layer; None is the method's own: 16 in mmp, 36 in dcp (three kinds together)
    prompt_depth = 6  # layers with prompts, from the first on (mmp, dcp)
    prompt_type = "input"  # of mmp: input (tokens) or attention (keys and values)
    moe_task_form = "eq9"  # of moe_task: eq9 (features and pattern) or moelora (pattern alone)
    adapter_scale = 1.0  # of released: factor of its adapter's output; 0.2 in its image-text form
    train_end = False  # of released: train copies of the towers' last norms and of the visual projection, too

    # --- missing modalities ---
    missing_ratio = {"train": 0.7, "val": 0.7, "test": 0.7}  # share of incomplete samples, 0 to 1
    missing_type = {"train": "both", "val": "both", "test": "both"}  # a modality, a+b (together), both or all
    availability = None  # instead of ratio and type: share of samples that have each modality, {"sar": 0.75}
    availability_reading = "independent"  # independent draws, or overall: no sample misses more than one
    resample_missing = False  # draw the training patterns anew each epoch
    missing_fill = 0.0  # what the windows of an absent modality hold; without effect, as they are never encoded
    test_ratio = None  # overrides missing_ratio of the test split
    test_type = None  # overrides missing_type of the test split

    # --- training ---
    optim_type = "adamw"  # adamw, adam or sgd
    learning_rate = 2e-3  # at the end of the warm-up
    weight_decay = 2e-2  # on matrices; biases and norms have none
    warmup_steps = 0.1  # share of the steps (below 1) or number of steps of linear warm-up
    max_epoch = 201  # passes over the training table (the release; the paper does not say)
    max_steps = None  # stops earlier, after this many optimiser steps
    batch_size = 128  # samples per optimiser step, reached by accumulation
    per_gpu_batchsize = 128  # samples per device at once
    gradient_clip = 1.0  # global norm; 0 is off
    val_check_interval = 1.0  # validate after this share of an epoch (one step at least), or every so many epochs
    limit_batches = None  # at most so many batches per epoch and split, for a quick check

    # --- the machine ---
    num_gpus = "auto"  # GPUs per node; 0 is the CPU; auto is one where there is one
    num_nodes = 1  # nodes; start the same command on each
    cpu_processes = 1  # processes when num_gpus=0
    num_workers = 0  # loading processes per device; windows are one gather per batch, images have to be decoded
    precision = "auto"  # 32, bf16-mixed, 16-mixed; auto is bf16-mixed on GPUs that have it
    progress_bar = True  # show progress bars

    # --- predict ---
    scene = ""  # raw folder, or scene.json, to draw a map of
    present = ""  # modalities to use, hsi+lidar; "" takes all, each draws a map for every pattern

    # --- evaluate, routing ---
    evaluate_ratios = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]  # missing rates of the grid
    evaluate_types = ""  # missing types of the grid: hsi,lidar,both; "" takes all that the table has
    routing_class = ""  # only test samples of this class: name, or number from 1 as in a label map; "" takes all

    # --- reproduce ---
    reproduce = ""  # table1, table3, table4, table5, figure4 or figure5; the named configs of these names set it
    datasets = ""  # tables in data_root, one folder each: houston2013,trento; "" takes the paper's
    methods = ""  # mamol,baseline,no_static; "" takes the paper's
    rates = None  # missing rates, [0.5, 0.7]; None takes the paper's
    protocols = ""  # paper,disjoint,blocks: compares the tables <dataset>_<protocol>; "" takes <dataset> as it is
    seeds = 5  # runs of each: seed, seed + 1, ...
    dry_run = False  # only list the runs, with an estimate of the time; standin: write the page of what is done
    launcher = "local"  # where runs are done: local, ray or slurm
    jobs = 1  # runs at once; local spreads them over the GPUs
    slurm = None  # submitit's parameters, {"slurm_partition": "gpu", "timeout_min": 600}


# The paper's remote-sensing setting: any table in data_root, 70 % incomplete, both modalities.
@ex.named_config
def remote() -> None:
    exp_name = "remote"


# The released code's adapter and choices instead of the paper's (with three modalities its learning_rate is 2e-3). Its
# defects are not copied: a classifier weight that no optimiser group holds, training pixels in the test set, no
# validation table. Neither is 16-bit AMP, in which raw values above 65504 overflow (precision=16-mixed asks for it).
@ex.named_config
def released() -> None:
    exp_name = "released"
    method = "released"
    activation = "gelu"
    normalise = False
    missing_fill = 1.0
    learning_rate = 1e-4
    val_check_interval = 20


# The released code's image-text network, 3,567,975 trainable parameters with 23 genres: `with task_finetune_mmimdb
# released_vision_language`. It trains with whatever the other config says.
@ex.named_config
def released_vision_language() -> None:
    exp_name = "released_vision_language"
    method = "released"
    activation = "gelu"
    rank = 16
    experts_dynamic = 4
    top_k = 2
    expert_blocks = "last2"
    adapter_scale = 0.2
    train_end = True


# Houston2013, HSI and LiDAR, 15 classes.
@ex.named_config
def houston2013() -> None:
    exp_name = "houston2013"
    dataset = "houston2013"
    data_root = "datasets/houston2013"
    modalities = ["hsi", "lidar"]


# Trento, HSI and LiDAR, 6 classes.
@ex.named_config
def trento() -> None:
    exp_name = "trento"
    dataset = "trento"
    data_root = "datasets/trento"
    modalities = ["hsi", "lidar"]


# Augsburg, HSI and SAR (the paper's Table 1), 7 classes.
@ex.named_config
def augsburg() -> None:
    exp_name = "augsburg"
    dataset = "augsburg"
    data_root = "datasets/augsburg"
    modalities = ["hsi", "sar"]


# Augsburg, HSI, SAR and LiDAR (the paper's Table 3), 7 classes.
@ex.named_config
def augsburg3() -> None:
    exp_name = "augsburg3"
    dataset = "augsburg"
    data_root = "datasets/augsburg"
    modalities = ["hsi", "sar", "lidar"]


# The images and texts of MM-IMDb (23 genres, any number per movie; F1), Food-101 (101 classes; its accuracy is OA) and
# Hateful Memes (2 classes; AUROC), with the settings of MMP, DCP and the release, the same for all three. Their
# max_text_len and draw_false_image have no effect with CLIP, whose texts are 77 tokens, and are no options here.
_IMAGE_TEXT = {
    "batch_size": 256,
    "max_epoch": 20,
    "learning_rate": 1e-2,
    "weight_decay": 2e-2,
    "warmup_steps": 0.1,
    "missing_ratio": {"train": 0.7, "val": 0.7, "test": 0.7},
    "missing_type": {"train": "both", "val": "both", "test": "both"},
    "num_workers": 4,
}
for _name, _dataset, _interval in (
    ("mmimdb", "mmimdb", 0.2),
    ("food101", "food101", 0.2),
    ("hatememes", "hateful_memes", 0.11),
):
    _own = {
        "exp_name": f"task_finetune_{_name}",
        "dataset": _dataset,
        "data_root": f"datasets/{_dataset}",
        "val_check_interval": _interval,
    }
    ex.add_named_config(f"task_finetune_{_name}", _IMAGE_TEXT | _own)


# The synthetic three-sensor scene of `make demo`, small enough for two CPU cores.
@ex.named_config
def demo() -> None:
    exp_name = "demo"
    dataset = "synthetic"
    data_root = "build/demo/table"
    log_dir = "build/demo/runs"
    backbone = "tiny"
    num_gpus = 0
    max_epoch = 15
    batch_size = 32
    per_gpu_batchsize = 32


# The comparison of docs/STANDIN.md: small enough for two CPU cores, and without CLIP.
@ex.named_config
def standin() -> None:
    exp_name = "standin"
    data_root = "build/standin/data"
    datasets = "trento_hybrid,idtrees"
    log_dir = "build/standin"
    backbone = "tiny"
    num_gpus = 0
    precision = "bf16-mixed"
    seeds = 3
    max_epoch = 6
    val_check_interval = 2
    limit_batches = 15
    batch_size = 32
    per_gpu_batchsize = 32


# Table 5: without the routed experts, without the static ones, without those per modality.
for _name, _options in ABLATIONS.items():
    ex.add_named_config(_name, _options)

# A table or figure of the paper, for the command `reproduce`; Table 2 is of images and texts.
for _table in TABLES:
    _options = _IMAGE_TEXT | {"val_check_interval": 0.2} if _table == "table2" else {}
    ex.add_named_config(_table, _options | {"reproduce": _table})

# A method by its name, `with houston2013 mmp`, which names the run, too; released has more to it, above.
for _method in METHODS:
    if _method != "released":
        ex.add_named_config(_method, {"method": _method, "exp_name": _method})
