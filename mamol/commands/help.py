"""What ``--help``, ``help <command>`` and a call without arguments say; nothing heavy is imported for the overview."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mamol.core.errors import MamolError

RUN = "python run.py"
"""How the door at the top of the repository is called."""
TABLES = "python make_arrow.py"


@dataclass(frozen=True)
class Command:
    """A command, for people.

    Attributes:
        summary: What it does, in one line.
        options: Its main options.
        examples: What follows the command's name in calls that work.
    """

    summary: str
    options: tuple[str, ...]
    examples: tuple[str, ...]


DATA = ("data_root", "modalities")
MISSING = ("missing_ratio", "missing_type", "test_ratio", "test_type")
MACHINE = ("num_gpus", "threads", "progress_bar")
TRAINED = ("load_path", "data_root", "clip_weights", "num_gpus")

COMMANDS = {
    "train": Command(
        "Train on tables, then test the best checkpoint; with test_only=True only test load_path.",
        (
            *DATA,
            "network",
            "method",
            "backbone",
            *MISSING,
            *("max_epoch", "batch_size", "per_gpu_batchsize", "learning_rate", "seed", "exp_name", "log_dir"),
            *("load_path", "resume_from", "test_only"),
            *MACHINE,
        ),
        (
            "with remote data_root=tables backbone=tiny num_gpus=0 max_epoch=3 batch_size=32 per_gpu_batchsize=32",
            "with houston2013 num_gpus=1 per_gpu_batchsize=128 exp_name=mine",
            "with remote data_root=tables load_path=result/mine_seed0 test_only=True test_ratio=0.7 test_type=both",
        ),
    ),
    "predict": Command(
        "Draw the class of every pixel of a scene, each from the sensors that saw it.",
        (
            *(
                "load_path",
                "scene",
                "root",
                "present",
                "bbox",
                "polygon",
                "probabilities",
                "abstain",
                "calibrated",
                "block",
                "batch",
                "precision",
                "dry_run",
            ),
            *("jobs", "launcher"),
            *("clip_weights", *MACHINE),
        ),
        (
            "with load_path=result/mine_seed0 scene=RAW",
            "with load_path=result/mine_seed0 scene=RAW present=lidar",
            "with load_path=result/mine_seed0 scene=RAW present=each",
            "with load_path=result/mine_seed0 scene=RAW abstain=0.05",
            "with load_path=result/mine_seed0 scene=RAW dry_run=True",
        ),
    ),
    "pretrain": Command(
        "Train a backbone on windows of scenes without labels, for backbone=<folder> of every other command.",
        (
            *("scene", "data_root", "modalities", "backbone", "window", "mask_ratio"),
            *("mixture_experts", "mixture_top_k", "mixture_blocks", "mixture_input"),
            *("modality_balance", "information_weight"),
            *("missing_ratio", "missing_type", "max_epoch", "batch_size", "per_gpu_batchsize", "learning_rate"),
            *("precision", "seed", "exp_name", "log_dir", "resume_from"),
            *MACHINE,
        ),
        (
            "with scene=RAW backbone=tiny num_gpus=0 max_epoch=100 learning_rate=1e-3",
            "with data_root=datasets/trento,datasets/houston2013 backbone=small",
            "with scene=RAW backbone=tiny resume_from=result/mamol_seed0/checkpoints/last.ckpt",
        ),
    ),
    "prune": Command(
        "Cut out of a run, or of a backbone of pretrain, the network that some sensors need.",
        (
            *("load_path", "keep", "patterns", "tau", "data_root", "scene", "window", "clip_weights", "seed"),
            *MACHINE,
        ),
        (
            "with load_path=result/mine_seed0 keep=hsi,lidar",
            "with load_path=result/mine_seed0 keep=hsi,lidar patterns=hsi,hsi+lidar tau=0.5",
            "with load_path=result/mamol_seed0/backbone keep=lidar scene=RAW",
        ),
    ),
    "calibrate": Command(
        "Make the confidence of a checkpoint mean something under each missing pattern; other commands then use it.",
        (*TRAINED, "coverage", "class_conditional"),
        (
            "with load_path=result/mine_seed0",
            "with load_path=result/mine_seed0 coverage=0.95 class_conditional=True",
            "with load_path=result/mine_seed0 data_root=tables coverage=None",
        ),
    ),
    "merge": Command(
        "Make of a run, for one missing pattern, a plain tower with slightly wider MLPs and the same outputs.",
        ("load_path", "present", "data_root", "clip_weights", "seed", *MACHINE),
        (
            "with load_path=result/mine_seed0/pruned present=hsi+lidar",
            "with load_path=result/mine_seed0/pruned present=lidar data_root=tables",
        ),
    ),
    "export": Command(
        "Write a run as an ONNX file that needs none of this program, checked against the run.",
        ("load_path", "format", "present", "calibrated", "data_root", "clip_weights", "seed", *MACHINE),
        (
            "with load_path=result/mine_seed0",
            "with load_path=result/mine_seed0 format=onnx present=hsi+lidar",
        ),
    ),
    "evaluate": Command(
        "Test a checkpoint at every missing rate and type.",
        (*TRAINED, "calibrated", "evaluate_ratios", "evaluate_types"),
        (
            "with load_path=result/mine_seed0 data_root=tables",
            "with load_path=result/mine_seed0 data_root=tables evaluate_ratios=0,0.5,0.9 evaluate_types=both",
            "with load_path=result/mine_seed0 data_root=tables num_gpus=0",
        ),
    ),
    "routing": Command(
        "Show which experts a checkpoint uses under each missing pattern; without a method, what modalities are worth.",
        (*TRAINED, "routing_class"),
        (
            "with load_path=result/mine_seed0 data_root=tables",
            "with load_path=result/mine_seed0 data_root=tables routing_class=water",
            "with load_path=result/mine_seed0 data_root=tables routing_class=7",
        ),
    ),
    "report": Command(
        "Write a page in which sensors are switched off and map, scores and confidence follow.",
        (
            *("load_path", "data_root", "scene", "root", "stride", "compare", "patterns", "preview"),
            *("evaluate_ratios", "evaluate_types", "clip_weights", *MACHINE),
        ),
        (
            "with load_path=result/mine_seed0 scene=RAW",
            "with load_path=result/mine_seed0 data_root=tables scene=RAW compare=result/other_seed0",
            "with load_path=result/mine_seed0 scene=RAW patterns=hsi+lidar,hsi,lidar",
        ),
    ),
    "reproduce": Command(
        "Fill a table or figure of the paper with own numbers beside the reported ones.",
        ("data_root", "datasets", "methods", "rates", "seeds", "protocols", "dry_run", "jobs", "launcher", "log_dir"),
        (
            "with table1 data_root=datasets dry_run=True",
            "with table1 data_root=datasets jobs=2",
            "with table5 data_root=datasets datasets=houston2013 seeds=3",
        ),
    ),
    "standin": Command(
        "Compare all methods on small stand-ins, with equal training and random frozen weights.",
        ("data_root", "datasets", "methods", "seeds", "dry_run", "jobs", "log_dir"),
        (
            "with standin",
            "with standin datasets=trento_hybrid seeds=1",
            "with standin dry_run=True",
        ),
    ),
    "methods": Command(
        "List the methods that method= can name.", ("plugins",), ("", "with plugins=my_method.py", "with remote")
    ),
    "datasets": Command("List the scenes and datasets that tables can be built of.", ("plugins",), ("",)),
    "params": Command(
        "Say where the parameters of a network are.",
        ("method", "backbone", "rank", "expert_blocks"),
        ("with remote", "with remote rank=16", "with remote method=dcp backbone=tiny"),
    ),
    "print_config": Command(
        "Print every option, its value and its meaning.",
        (),
        ("with remote", "with houston2013 released", "with demo max_epoch=3"),
    ),
}
"""Commands of run.py, the first one the one without a name there."""

SACREDS = ("print_named_configs", "print_dependencies", "save_config", "main")
"""Commands that Sacred adds."""
ASKS = ("-h", "--help", "help")


def asked(words: Sequence[str]) -> bool:
    """Whether the words of a command line ask for help.

    Args:
        words: Without the program's name; none at all asks, too.
    """
    return not words or words[0] == "help" or any(word in ASKS[:2] for word in words)


def answer(words: Sequence[str], program: str) -> str:
    """The help that is asked for.

    Args:
        words: As of ``asked``.
        program: How the user calls it.

    Raises:
        MamolError: There is no such command.
    """
    named = [word for word in words if word not in ASKS and "=" not in word]
    if not named:
        return overview(program)
    name = "train" if named[0] == "with" else named[0]
    check_command(name)
    if name not in COMMANDS:
        raise MamolError(f"{name}: Sacred's own, without a page; try {program} {name}")
    return page(name, program)


def check_command(name: str) -> None:
    """Refuses what is no command.

    Args:
        name: The first word of a command line.

    Raises:
        MamolError: It is none.
    """
    if name in COMMANDS or name in SACREDS or name == "with" or name.startswith("-"):
        return
    close = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    behind = "options stand behind the word with; " if "=" in name else ""
    raise MamolError(f"{name}: there is no such command; {hint}{behind}there are {', '.join(COMMANDS)}")


def overview(program: str) -> str:
    """All commands, and three examples.

    Args:
        program: How the user calls it.
    """
    own = {_call(program, name, "").removeprefix(program).strip() or "with …": each for name, each in COMMANDS.items()}
    tables = "tables" if program != RUN else f"({TABLES})"
    rows = {tables: "Build the tables of a scene or dataset from raw files."} | {k: v.summary for k, v in own.items()}
    width = max(map(len, rows))
    command = "[command]" if program == RUN else "<command>"
    build = f"{TABLES if program == RUN else f'{program} tables'} --dataset trento --root RAW --out tables"
    return "\n".join(
        [
            "Land-cover classification that keeps working when sensors are missing (MaMOL, arXiv 2511.11460).",
            "",
            f"usage: {program} {command} with <named configs> <option>=<value> …",
            "",
            *(f"  {name:<{width}}  {summary}" for name, summary in rows.items()),
            "",
            "Main options: data_root=<tables> method=mamol backbone=tiny max_epoch=3 num_gpus=0 exp_name=x",
            f"  {program} help <command> shows a command's; {program} print_config shows all.",
            "",
            "Examples:",
            f"  {build}",
            f"  {_call(program, 'train', COMMANDS['train'].examples[0])}",
            f"  {_call(program, 'predict', COMMANDS['predict'].examples[2])}",
        ]
    )


def page(name: str, program: str) -> str:
    """One command: what it does, its main options, examples.

    Args:
        name: Of the command.
        program: How the user calls it.
    """
    from mamol.core.settings import flat_defaults  # torch comes with it; the overview does without

    command = COMMANDS[name]
    known = {option: (default, meaning) for option, default, meaning in flat_defaults()}
    width = max(map(len, command.options), default=0)
    options = [f"  {each:<{width}}  {known[each][1]} (default: {_shown(known[each][0])})" for each in command.options]
    return "\n".join(
        [
            command.summary,
            "",
            f"usage: {_call(program, name, 'with <named configs> <option>=<value> …')}",
            *(["", "Main options:", *options] if options else []),
            f"  {program} print_config shows all.",
            "",
            "Examples:",
            *(f"  {_call(program, name, example)}" for example in command.examples),
        ]
    )


def _shown(default: object) -> str:
    return '""' if default == "" else str(default)


def _call(program: str, name: str, rest: str) -> str:
    """A call; training has no name at run.py."""
    return " ".join(word for word in (program, "" if program == RUN and name == "train" else name, rest) if word)
