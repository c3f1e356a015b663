"""Work spread over many processes or machines by Dask: embed, predict, audit and benchmark.

>>> from ferembed import Embedder, cluster
>>> with cluster.connect("local:2") as client:  # doctest: +SKIP
...     done = cluster.embed("faces/", Embedder("mini-vgg"), client, "s3://bucket/vectors")

The work is cut into partitions of some thousand pictures. Each ends in one Parquet file with a name
made of its content and of the recipe. Run again, only what is missing or has changed is computed.
"""

from ferembed.cluster.connection import connect
from ferembed.cluster.grid import score_cells
from ferembed.cluster.picture_facts import gather_facts
from ferembed.cluster.tables import Done, embed, predict

__all__ = ["Done", "connect", "embed", "gather_facts", "predict", "score_cells"]
