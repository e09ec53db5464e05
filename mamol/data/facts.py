"""What is known about the releases of each dataset, as data.

Adding a scene is adding one entry to ``DATASETS``, here or in a plugin. Loader code never mentions a scene by name. The
files and variables are those of the public releases (MaMOL/DPMamba, MMRS, S2FL, OUC, MFT, MDL-RS and the original
sources); counts are labelled pixels as published. Colours go by meaning (water blue, trees dark green), the same
for the same name in every scene, and stay apart for colour-blind readers within a scene.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mamol.core.errors import MamolError
from mamol.core.registry import Registry
from mamol.data.labelfacts import VectorLabels
from mamol.data.places import ArrayFile, Candidates, GridPlace, RasterPlace, files


@dataclass(frozen=True)
class PrecutPart:
    """Files of one part (train or test) of a release that holds samples instead of a scene."""

    modalities: Mapping[str, ArrayFile]
    labels: ArrayFile


@dataclass(frozen=True)
class PrecutFacts:
    """A release of samples: pixel vectors (N, C), flattened windows (N, C·P·P) or windows (N, P, P, C).

    Attributes:
        train: Files of the training samples; the release is recognised by them.
        test: Files of the test samples; used when all of them are there.
        bands: Bands per modality, which tell a vector from a flattened window.
    """

    train: PrecutPart
    test: PrecutPart
    bands: Mapping[str, int]


@dataclass(frozen=True)
class SceneFacts:
    """What the loader has to know about one scene.

    Attributes:
        name: The name in tables and reports.
        modalities: Modality -> where its raster may lie.
        default_modalities: What is loaded unless the user names modalities; empty: all that are there.
        labels: Where the label map may lie (0 or -1: unlabelled, classes from 1).
        polygons: Polygons or points with a class each, which are then the labels; None: ``labels`` says where they lie.
        train_labels: Where the official training label map may lie.
        test_labels: Where the official test label map may lie.
        train_index: Where a list of the official training pixels may lie: (n, 2), row and column from 0.
        test_index: The same for the official test pixels.
        shown: The name in titles of figures; empty: ``name``.
        classes: Class names in label order; empty: "class 1" and so on.
        colours: Of the classes on maps, ``#rrggbb``; empty: the program's palette.
        counts: Published number of labelled pixels per class; empty: unknown.
        train_counts: Published number of official training pixels per class.
        test_counts: Published number of official test pixels per class.
        bands: Published number of bands per modality, all that occur.
        precut: Releases of this dataset that hold samples instead of a scene.
        rasters: Modality -> how its raster is put together, where that is more than reading one file.
        grid: Modality whose grid the scene has, or a grid by numbers; None: that of the first file with a place.
        configs: Number of modalities -> named config of run.py that fits; ``remote`` otherwise.
        title: One line for lists.
        note: What every table of it says about itself, e.g. that it is synthetic.
        split: To which split ``--protocol scenes`` gives it; empty: any.
    """

    name: str
    modalities: Mapping[str, Candidates]
    default_modalities: tuple[str, ...] = ()
    labels: Candidates = ()
    polygons: VectorLabels | None = None
    train_labels: Candidates = ()
    test_labels: Candidates = ()
    train_index: Candidates = ()
    test_index: Candidates = ()
    shown: str = ""
    classes: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    train_counts: tuple[int, ...] = ()
    test_counts: tuple[int, ...] = ()
    bands: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    precut: tuple[PrecutFacts, ...] = ()
    rasters: Mapping[str, RasterPlace] = field(default_factory=dict)
    grid: str | GridPlace | None = None
    configs: Mapping[int, str] = field(default_factory=dict)
    title: str = ""
    note: str = ""
    split: str = ""


# Names that several releases of several datasets use: the paper's README, its code, MMRS, S2FL.
HSI = files("HSI", "HSI_data", "data_HS_LR")
LIDAR = files("LiDAR", "LiDAR_data", "LiDAR_data_1", "data_DSM", "DSM")
SAR = files("SAR", "SAR_data", "SAR_data_2:SAR_data", "data_SAR_HR")
MS = files("MSI", "MS", "MS_data", "data_MS_HR")
LABELS = files("All_Label", "gt", "GT:tainandtest")
TRAIN_LABELS = files("TRLabel", "TrainImage", "TR")
TEST_LABELS = files("TSLabel", "TestImage", "TE")
COMMON = {"hsi": HSI, "lidar": LIDAR, "sar": SAR, "ms": MS}


def mft(bands: Mapping[str, int]) -> PrecutFacts:
    """The MFT release: windows of 11×11 pixels, every array in a variable ``Data``.

    Args:
        bands: Modality -> number of bands.
    """

    def part(ending: str) -> PrecutPart:
        modalities = {name: ArrayFile(f"{name.upper()}_{ending}", "Data") for name in bands}
        return PrecutPart(modalities, ArrayFile(f"{ending}Label", "Data"))

    return PrecutFacts(part("Tr"), part("Te"), bands)


MDL_RS = PrecutFacts(
    train=PrecutPart({"hsi": ArrayFile("HSI_TrSet"), "lidar": ArrayFile("LiDAR_TrSet")}, ArrayFile("TrLabel")),
    test=PrecutPart({"hsi": ArrayFile("HSI_TeSet"), "lidar": ArrayFile("LiDAR_TeSet")}, ArrayFile("TeLabel")),
    bands={"hsi": 144, "lidar": 21},
)

HOUSTON2013 = SceneFacts(
    name="houston2013",
    shown="Houston 2013",
    title="Houston 2013, IEEE GRSS data fusion contest: HSI 144 bands, LiDAR; 349×1905",
    modalities={
        "hsi": HSI + files("Houston2013_HSI:HSI", "2013_IEEE_GRSS_DF_Contest_CASI", "houston_hsi", "houston2013_hsi"),
        "lidar": LIDAR
        + files("Houston2013_DSM:DSM", "2013_IEEE_GRSS_DF_Contest_LiDAR", "houston_lidar", "houston2013_lidar"),
        "ms": MS,
    },
    default_modalities=("hsi", "lidar"),
    labels=LABELS + files("houston_gt", "houston2013_gt"),
    train_labels=TRAIN_LABELS
    + files("Houston2013_TR:TR_map", "2013_IEEE_GRSS_DF_Contest_Samples_TR")
    + files("2013_IEEE_GRSS_DF_Contest_Samples_TR.txt"),
    test_labels=TEST_LABELS
    + files("Houston2013_TE:TE_map", "2013_IEEE_GRSS_DF_Contest_Samples_VA")
    + files("2013_IEEE_GRSS_DF_Contest_Samples_VA.txt"),
    train_index=files("houston_index:houston_train", "houston2013_index:houston2013_train"),
    test_index=files("houston_index:houston_test", "houston2013_index:houston2013_test"),
    classes=(
        *("Healthy grass", "Stressed grass", "Synthetic grass", "Trees", "Soil", "Water", "Residential", "Commercial"),
        *("Road", "Highway", "Railway", "Parking Lot 1", "Parking Lot 2", "Tennis Court", "Running Track"),
    ),
    colours=(
        *("#59d154", "#e8f191", "#2cbc8f", "#155736", "#672101", "#0a3fe0", "#e56462", "#d70101"),
        *("#6e6e6e", "#d6d6d6", "#240959", "#ffe900", "#ff7c00", "#12d2ff", "#890b98"),
    ),
    train_counts=(198, 190, 192, 188, 186, 182, 196, 191, 193, 191, 181, 192, 184, 181, 187),
    test_counts=(1053, 1064, 505, 1056, 1056, 143, 1072, 1053, 1059, 1036, 1054, 1041, 285, 247, 473),
    counts=(1251, 1254, 697, 1244, 1242, 325, 1268, 1244, 1252, 1227, 1235, 1233, 469, 428, 660),
    bands={"hsi": (144,), "lidar": (1,), "ms": (8,)},
    precut=(MDL_RS, mft({"hsi": 144, "lidar": 1})),
    configs={2: "houston2013"},
)

TRENTO = SceneFacts(
    name="trento",
    shown="Trento",
    title="Trento: HSI 63 bands, LiDAR 1 or 2; 166×600",
    modalities={
        "hsi": HSI + files("Italy_hsi:data", "HSI_Trento:hsi_trento", "trento_hsi"),
        "lidar": LIDAR
        + files("Italy_lidar:data", "Lidar_Trento:lidar_trento", "Lidar1_Trento:lidar1_trento", "trento_lidar"),
        "sar": SAR,
    },
    default_modalities=("hsi", "lidar"),
    labels=LABELS + files("allgrd:mask_test", "GT_Trento:gt_trento", "trento_gt"),
    train_labels=TRAIN_LABELS,
    test_labels=TEST_LABELS,
    train_index=files("trento_index:trento_train"),
    test_index=files("trento_index:trento_test"),
    classes=("Apple trees", "Buildings", "Ground", "Woods", "Vineyard", "Roads"),
    colours=("#5edd16", "#cc4004", "#bfa061", "#17391b", "#8f5098", "#b9b9b9"),
    counts=(4034, 2903, 479, 9123, 10501, 3174),
    train_counts=(129, 125, 105, 154, 184, 122),
    test_counts=(3905, 2778, 374, 8969, 10317, 3052),
    bands={"hsi": (63,), "lidar": (1, 2), "sar": (4,)},
    precut=(mft({"hsi": 63, "lidar": 1}),),
    configs={2: "trento"},
)

AUGSBURG = SceneFacts(
    name="augsburg",
    shown="Augsburg",
    title="Augsburg: HSI 180 bands, SAR 4, LiDAR (DSM); 332×485",
    modalities={
        "hsi": HSI + files("Augsburg_hsi:hsi"),
        "sar": SAR + files("augsburg_sar"),
        "lidar": LIDAR + files("augsburg_lidar", "augsburg_dsm"),
    },
    default_modalities=("hsi", "sar"),
    labels=LABELS + files("Augsburg_gt:gt"),
    train_labels=TRAIN_LABELS,
    test_labels=TEST_LABELS,
    train_index=files("augsburg_index:augsburg_train"),
    test_index=files("augsburg_index:augsburg_test"),
    classes=("Forest", "Residential area", "Industrial area", "Low plants", "Allotment", "Commercial area", "Water"),
    colours=("#1a4b33", "#d9a498", "#573579", "#85f270", "#ffff19", "#e60a0a", "#0a3fe0"),
    counts=(13507, 30329, 3851, 26857, 575, 1645, 1530),
    train_counts=(146, 264, 21, 248, 52, 7, 23),
    test_counts=(13361, 30065, 3830, 26609, 523, 1638, 1507),
    bands={"hsi": (180,), "sar": (4,), "lidar": (1,)},
    precut=(mft({"hsi": 180, "sar": 4}),),
    configs={2: "augsburg", 3: "augsburg3"},
)

_MUUFL_STRUCT = "muufl_gulfport_campus_1_hsi_220_label"
MUUFL = SceneFacts(
    name="muufl",
    shown="MUUFL Gulfport",
    title="MUUFL Gulfport: HSI 64 bands, LiDAR 2; 325×220",
    modalities={
        "hsi": HSI + files(f"{_MUUFL_STRUCT}:hsi.Data", "MUUFL_HS", "Muufl_hsi:hsi"),
        "lidar": LIDAR + files(f"{_MUUFL_STRUCT}:hsi.Lidar.z", "MUUFL_LiDAR:MUUFL_Lidar", "Muufl_lidar:lidar"),
    },
    default_modalities=("hsi", "lidar"),
    labels=LABELS + files(f"{_MUUFL_STRUCT}:hsi.sceneLabels.labels", "MUUFL_gt", "Muufl_gt0:gt"),
    train_labels=TRAIN_LABELS + files("muufl_tr:training_map", "MUUFL_TR:TR"),
    test_labels=TEST_LABELS + files("muufl_ts:testing_map", "MUUFL_TE:TE"),
    train_index=files("muufl_index:muufl_train"),
    test_index=files("muufl_index:muufl_test"),
    classes=(
        *("Trees", "Mostly grass", "Mixed ground surface", "Dirt and sand", "Road", "Water", "Buildings' shadow"),
        *("Buildings", "Sidewalk", "Yellow curb", "Cloth panels"),
    ),
    colours=(
        *("#155736", "#66cc45", "#a68d5a", "#ffe88d", "#6e6e6e", "#0a3fe0", "#0c0b14", "#cc4004"),
        *("#cbd2d5", "#f7db00", "#ed77ec"),
    ),
    counts=(23246, 4270, 6882, 1826, 6687, 466, 2233, 6240, 1385, 183, 269),
    train_counts=(1184, 216, 345, 91, 335, 23, 113, 313, 86, 58, 15),
    test_counts=(22062, 4054, 6537, 1735, 6352, 443, 2120, 5927, 1299, 125, 254),
    bands={"hsi": (64, 72), "lidar": (1, 2)},
    precut=(mft({"hsi": 64, "lidar": 2}),),
)

BERLIN = SceneFacts(
    name="berlin",
    shown="Berlin",
    title="Berlin: HSI 244 bands, SAR 4; 1723×476",
    modalities={"hsi": HSI + files("berlin_hsi"), "sar": SAR + files("berlin_sar")},
    default_modalities=("hsi", "sar"),
    labels=LABELS + files("berlin_gt"),
    train_labels=TRAIN_LABELS,
    test_labels=TEST_LABELS,
    train_index=files("berlin_index:berlin_train"),
    test_index=files("berlin_index:berlin_test"),
    classes=(
        *("Forest", "Residential area", "Industrial area", "Low plants", "Soil", "Allotment", "Commercial area"),
        "Water",
    ),
    colours=("#1a4b33", "#d9a498", "#573579", "#85f270", "#672101", "#ffff19", "#e60a0a", "#0a3fe0"),
    train_counts=(443, 423, 499, 376, 331, 280, 298, 170),
    test_counts=(54511, 268219, 19067, 58906, 17095, 13025, 24526, 6502),
    bands={"hsi": (244,), "sar": (4,)},
    precut=(mft({"hsi": 244, "sar": 4}),),
)

SYNTHETIC = SceneFacts(
    name="synthetic",
    title="a made-up three-sensor scene for demo and tests",
    modalities=COMMON,
    default_modalities=("hsi", "lidar", "sar"),
    labels=LABELS,
    classes=("water", "grass", "crops", "trees", "buildings", "roads"),
    colours=("#0a3fe0", "#82de6f", "#f7e803", "#155736", "#cc4004", "#b9b9b9"),
    note="synthetic scene: results on it say nothing about real data",
)

ANY_SCENE = SceneFacts(
    name="scene",
    title="any other scene: scene.json names its files, or they have the common names",
    modalities=COMMON,
    labels=LABELS,
    train_labels=TRAIN_LABELS,
    test_labels=TEST_LABELS,
)

DATASETS: Registry[SceneFacts] = Registry("dataset")
"""Name of a dataset, as on the command line -> its facts."""
for _facts in (HOUSTON2013, TRENTO, AUGSBURG, MUUFL, BERLIN, SYNTHETIC, ANY_SCENE):
    DATASETS.add(_facts.name, _facts)


def facts_of(dataset: str) -> SceneFacts:
    """The facts of a dataset.

    Args:
        dataset: Its name in ``DATASETS``, in any letter case.

    Raises:
        MamolError: If there is no dataset of that name.
    """
    try:
        return DATASETS[dataset.lower()]
    except KeyError:
        raise MamolError(f"dataset {dataset!r} is unknown; known: {', '.join(DATASETS)}") from None


def shown_name(dataset: str, scene: str) -> str:
    """The name of a scene in titles.

    Args:
        dataset: Its dataset's name.
        scene: Its own name, which is that of the dataset where it is the published scene.
    """
    facts = DATASETS.get(dataset)
    return facts.shown if facts and facts.shown and scene == facts.name else scene
