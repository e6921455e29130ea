"""One file per data set, one line per data set here."""

from __future__ import annotations

from video_qa.preparation.data_set import DataSet
from video_qa.preparation.datasets.egoschema import EGOSCHEMA
from video_qa.preparation.datasets.mvbench import MVBENCH
from video_qa.preparation.datasets.ovobench import OVOBENCH
from video_qa.preparation.datasets.rvs import RVS_EGO, RVS_MOVIE
from video_qa.preparation.datasets.streamingbench import STREAMINGBENCH
from video_qa.preparation.datasets.trace import TRACE
from video_qa.preparation.datasets.videomme import VIDEOMME

DATA_SETS: dict[str, DataSet] = {
    "streamingbench": STREAMINGBENCH,
    "ovobench": OVOBENCH,
    "rvs_ego": RVS_EGO,
    "rvs_movie": RVS_MOVIE,
    "videomme": VIDEOMME,
    "mvbench": MVBENCH,
    "egoschema": EGOSCHEMA,
    "trace": TRACE,
}
