"""Wrong calls, and what their one line has to say: key or file, what was found, what is allowed, what to do.

``{table}``, ``{run}``, ``{best}`` and ``{scene}`` are tables, a run with its best checkpoint, and a raw scene;
``{out}`` and ``{here}`` are a folder that is not there, and the one that it would be in; ``{long}`` is a word of 300
letters.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One wrong call.

    Attributes:
        command: A command of ``run.py``, or ``make_arrow``.
        words: What is given to it.
        parts: Of its message.
    """

    command: str
    words: str
    parts: tuple[str, ...]


def call(command: str, words: str, *parts: str) -> Call:
    """One wrong call."""
    return Call(command, words, parts)


COMMANDS = [
    call("predict", "load_path={run}", "predict needs load_path=<checkpoint> and scene=<raw folder or scene.json>"),
    call(
        "predict",
        "load_path={run} scene={scene} present=radar",
        "present=radar: the checkpoint has no modality radar; it has hsi+lidar+sar",
    ),
    call(
        "predict",
        "load_path={run} scene={run}",
        "modality hsi: no file for it in {run}; expected one of HSI, HSI_data, data_HS_LR; found",
    ),
    call(
        "predict",
        "load_path={run} scene=nowhere",
        "root nowhere: no such folder; give the folder with the raw files of the scene",
    ),
    call("predict", "scene={scene}", "predict needs load_path=<checkpoint> and scene=<raw folder or scene.json>"),
    call(
        "predict",
        "load_path={run} scene={scene} stride=2",
        "stride=2: goes with head=pixels; this run has head=class, which needs a window for every pixel",
    ),
    call("predict", "load_path={run} scene={scene} block=0", "block=0 must be a whole number of at least 1"),
    call(
        "predict",
        "load_path={run} scene={scene} bbox=[1,2,3]",
        "bbox=[1, 2, 3] must be four numbers, left,bottom,right,top",
    ),
    call(
        "predict",
        "load_path={run} scene={scene} bbox=[0,0,1,1]",
        "bbox=0,0,1,1: the scene has no coordinates; give it rasters with a georeference, or leave it out",
    ),
    call(
        "predict",
        "load_path={run} scene={scene} polygon=none.gpkg",
        "polygon=none.gpkg: the scene has no coordinates; give it rasters with a georeference, or leave it out",
    ),
    call(
        "predict",
        "load_path={run} scene={scene} root={scene}",
        "root={scene}: goes with scene=<scene.json>, and scene={scene} is no file",
    ),
    call(
        "predict",
        "load_path={table} scene={scene}",
        "load_path={table}: no checkpoints/best*.safetensors in it, and no adapter.safetensors;",
    ),
    call("pretrain", "", "pretrain needs data_root=<folder of tables> or scene=<raw folder>"),
    call("pretrain", "scene=nowhere", "nowhere: no such folder"),
    call("pretrain", "scene={scene} dataset=nothing", "nothing"),
    call("pretrain", "data_root=nowhere", "nowhere"),
    call(
        "pretrain",
        "data_root={table} backbone=ViT-B-16",
        "backbone=ViT-B-16: pretrain makes tiny, small, base; choose one",
    ),
    call("pretrain", "data_root={table} window=6", "has cut windows of 4 pixels; leave it out"),
    call("pretrain", "data_root={table} mask_ratio=1", "mask_ratio=1 must be a number above 0 and below 1"),
    call("pretrain", "data_root={table} mixture_experts=0", "mixture_experts=0 must be a whole number of at least 1"),
    call("pretrain", "data_root={table} mixture_top_k=5", "top_k is 5, expected at most the 4 experts"),
    call("pretrain", "data_root={table} modality_balance=-1", "modality_balance=-1 must be"),
    call("pretrain", "data_root={table} batch_size=12", "batch_size=12 must be a multiple of"),
    call("pretrain", "data_root={table} modalities=ms", "modalities=ms"),
    call(
        "pretrain",
        "data_root={table} log_dir={table}/train.arrow",
        "log_dir={table}/train.arrow: the run's folder cannot be made",
        "(Not a directory); give another folder",
    ),
    call(
        "pretrain",
        "data_root={table} exp_name={long}",
        "log_dir={here}/runs: the run's folder cannot be made (File name too long); give another folder",
    ),
    call(
        "pretrain",
        "data_root={table} resume_from={run}/checkpoints/last.ckpt",
        "resume_from={run}/checkpoints/last.ckpt: that run is finished and stays as it is",
    ),
    call("pretrain", "data_root={table} resume_from={run}/config.json", "is not the last.ckpt of a run"),
    call("evaluate", "", "evaluate needs load_path=<checkpoint or run folder>, and data_root=<tables> if they moved"),
    call(
        "evaluate",
        "load_path={run} data_root={table} evaluate_ratios=[2]",
        "evaluate_ratios=[2] must be rates from 0 to 1, such as 0,0.5",
    ),
    call("evaluate", "load_path={run} data_root={table} evaluate_types=[radar]", "radar", "hsi, lidar, sar"),
    call(
        "evaluate",
        "load_path={run} data_root=nowhere",
        "data_root nowhere: train.arrow, val.arrow, test.arrow not found; build the tables with",
    ),
    call(
        "evaluate",
        "load_path=nowhere data_root={table}",
        "load_path=nowhere: there is no such file; give a run's folder or a file of its checkpoints",
    ),
    call(
        "routing",
        "load_path={run} data_root={table} routing_class=lava",
        "routing_class=lava: the table has no such class; give a number from 1 to 6, or one of",
    ),
    call(
        "routing",
        "load_path={run} data_root={table} routing_class=99",
        "routing_class=99: the table has no such class; give a number from 1 to 6, or one of",
    ),
    call(
        "routing",
        "data_root={table}",
        "routing needs load_path=<checkpoint or run folder>, and data_root=<tables> if they moved",
    ),
    call("calibrate", "", "calibrate needs load_path=<checkpoint or run folder>, and data_root=<tables> if they moved"),
    call("calibrate", "load_path={run} coverage=1", "coverage=1 must be None or a number above 0 and below 1"),
    call("calibrate", "load_path={run} class_conditional=yes", "class_conditional='yes' must be True or False"),
    call(
        "calibrate",
        "load_path={run} data_root=nowhere",
        "data_root nowhere: train.arrow, val.arrow, test.arrow not found; build the tables with",
    ),
    call(
        "predict", "load_path={run} scene={scene} abstain=0", "abstain=0 must be None or a number above 0 and below 1"
    ),
    call(
        "predict",
        "load_path={run} scene={scene} abstain=0.05",
        "abstain=0.05: nothing says which pixels are sure enough; run calibrate with load_path={run} first",
    ),
    call("report", "", "report needs load_path=<checkpoint or run folder>; with scene=<raw folder> it draws maps"),
    call("report", "load_path={run} preview=0", "preview=0 must be a whole number of at least 1"),
    call(
        "report",
        "load_path={run} patterns=hsi+radar",
        "patterns=hsi+radar: the checkpoint has no modality radar; it has hsi+lidar+sar",
    ),
    call("report", "load_path={run} compare={run},none", "compare=none: load_path=none: there is no such file; give a"),
    call("report", "load_path={run} scene=nowhere", "root nowhere: no such folder; give the folder with the raw files"),
    call("report", "load_path={run} scene={scene} bbox=[0,0,1,1]", "bbox=0,0,1,1: the scene has no coordinates; give"),
    call("report", "load_path={run} evaluate_ratios=[2]", "evaluate_ratios=[2] must be"),
    call(
        "report",
        "load_path={run} data_root=nowhere",
        "data_root nowhere: train.arrow, val.arrow, test.arrow not found; build the tables with",
    ),
    call("prune", "", "prune needs load_path=<run, or folder of a backbone> and keep=<modalities that stay>, such as"),
    call("prune", "load_path={run}", "prune needs load_path=<run, or folder of a backbone> and keep=<modalities that"),
    call("prune", "load_path={run} keep=", "prune needs load_path=<run, or folder of a backbone> and keep=<modalities"),
    call("prune", "load_path={run} keep=radar", "keep=radar: {run} has hsi, lidar, sar; keep some of them"),
    call("prune", "load_path={run} keep=hsi,hsi", "keep: modalities: hsi, hsi names one of them twice; give each once"),
    call("prune", "load_path={run} keep=hsi tau=-1", "tau=-1 must be a number of at least 0"),
    call("prune", "load_path={run} keep=hsi tau=some", "tau='some' must be a number of at least 0"),
    call(
        "prune",
        "load_path={run} keep=hsi,lidar patterns=hsi,hsi+sar",
        "patterns=hsi+sar: sar is not in keep=hsi,lidar; give patterns of what stays",
    ),
    call(
        "prune",
        "load_path={run} keep=hsi patterns=hsi+",
        "patterns='hsi+' must be patterns of present modalities, such as hsi,hsi+lidar",
    ),
    call(
        "prune",
        "load_path=nowhere keep=hsi",
        "load_path=nowhere: there is no such file; give a run's folder or a file of its checkpoints",
    ),
    call(
        "prune",
        "load_path={run} keep=hsi data_root=nowhere",
        "data_root nowhere: train.arrow, val.arrow, test.arrow not found; build the tables with",
    ),
    call(
        "prune",
        "load_path={table} keep=hsi",
        "load_path={table}: no checkpoints/best*.safetensors in it, and no adapter.safetensors;",
    ),
    call("merge", "", "merge needs load_path=<run> and present=<modalities of all samples>, such as hsi+lidar"),
    call(
        "merge", "load_path={run}", "merge needs load_path=<run> and present=<modalities of all samples>, such as hsi"
    ),
    call("merge", "load_path={run} present=each", "present=each: a merged run is for one pattern; give one, such as"),
    call(
        "merge",
        "load_path={run} present=radar",
        "present=radar: the checkpoint has no modality radar; it has hsi+lidar+sar",
    ),
    call(
        "merge",
        "load_path={run} present=hsi data_root=nowhere",
        "data_root nowhere: train.arrow, val.arrow, test.arrow not found; build the tables with",
    ),
    call(
        "merge",
        "load_path={run} present=hsi",
        "block 6 has 2 routed experts, among which each token chooses: leave one",
    ),
    call("export", "", "export needs load_path=<run>, and present=hsi+lidar for a file of that pattern alone"),
    call("export", "load_path={run} format=tflite", "format='tflite' must be one of onnx"),
    call("export", "load_path={run} present=each", "present=each: a file is for one pattern, or for all of them with"),
    call(
        "export",
        "load_path={run} present=hsi+radar",
        "present=hsi+radar: the checkpoint has no modality radar; it has hsi+lidar+sar",
    ),
    call(
        "export",
        "load_path=nowhere",
        "load_path=nowhere: there is no such file; give a run's folder or a file of its checkpoints",
    ),
    call(
        "params",
        "method=nothing",
        "method='nothing' must be one of mamol, released, baseline, linear_probe, lora,",
        "plugins=<file> registers others",
    ),
    call(
        "params",
        "backbone=ViT-Z",
        "backbone=ViT-Z: unknown; allowed: tiny, ViT-B-16, ViT-B-16-plus, ViT-B-16-plus-240,",
    ),
    call("params", "rank=0", "rank=0 must be a whole number of at least 1"),
    call("print_config", "rank=0", "rank=0 must be a whole number of at least 1"),
    call("methods", "rank=0", "rank=0 must be a whole number of at least 1"),
    call("datasets", "rank=0", "rank=0 must be a whole number of at least 1"),
    call("reproduce", "", "reproduce needs the name of a table: python run.py reproduce with table1, table2, table3,"),
    call(
        "reproduce",
        "reproduce=table9",
        "reproduce='table9' must be one of nothing, table1, table2, table3, table4, table5, figure4, figure4a, figure5",
    ),
    call(
        "reproduce", "table9", "Named config not found: \"table9\". Available config values are: ('remote', 'released',"
    ),
    call(
        "reproduce",
        "table1 data_root={table}",
        "no tables in {table} for some datasets; build them: python make_arrow.py --dataset",
        "python make_arrow.py --dataset augsburg --root RAW --out {table}/augsburg",
    ),
    call(
        "reproduce",
        "table1 methods=nothing data_root={table}",
        "methods=nothing: unknown nothing; known: mamol, baseline, linear_probe, lora,",
    ),
    call(
        "reproduce",
        "table1 datasets=nowhere",
        "no tables in datasets for some datasets; build them: python make_arrow.py --dataset …",
    ),
    call("reproduce", "table1 seeds=0", "seeds=0 must be a whole number of at least 1"),
    call("reproduce", "table1 rates=[2]", "rates=[2] must be None or rates from 0 to 1, such as 0,0.5"),
    call(
        "reproduce",
        "table1 protocols=random",
        "protocols='random' must be some of disjoint, paper, official, blocks, polygons, scenes",
    ),
    call("reproduce", "table1 launcher=cloud", "launcher='cloud' must be one of local, ray, slurm"),
    call("reproduce", "figure5 jobs=0", "jobs=0 must be a whole number of at least 1"),
    call(
        "standin", "", "standin needs data_root=<folder> and datasets=<folders of tables in it>: trento_hybrid,idtrees"
    ),
    call(
        "standin",
        "datasets=nowhere data_root={table}",
        "data_root {table}/nowhere: train.arrow, val.arrow, test.arrow not found; build the tables",
    ),
    call(
        "standin",
        "methods=nothing datasets=a data_root={table}",
        "methods=nothing: unknown nothing; mamol, released, baseline, linear_probe, lora,",
    ),
    call("standin", "standin dry_run=perhaps", "dry_run='perhaps' must be True or False"),
    call("trian", "", "trian: there is no such command; did you mean train? there are train, predict,"),
    call(
        "predcit",
        "load_path={run} scene={scene}",
        "predcit: there is no such command; did you mean predict? there are train, predict,",
    ),
]
