"""Embed photos on many machines, and fit a model on their vectors.

    pip install 'ferembed[dask,fast]'     on this machine and on every worker, in the same version
    python examples/cluster.py s3://bucket/faces s3://bucket/vectors [ssh|kubernetes|slurm]

Take the cluster that you have; each class below comes from Dask's own packages.
"""

from __future__ import annotations

import sys

from distributed import Client, LocalCluster

from ferembed import Embedder, Pipeline, cluster, datasets


def start(kind: str) -> Client:
    """A client of workers with one thread each."""
    if kind == "ssh":  # the first host runs the scheduler: pip install asyncssh
        from distributed import SSHCluster

        return Client(SSHCluster(["host-1", "host-1", "host-2"], worker_options={"nthreads": 1}))
    if kind == "kubernetes":  # pip install dask-kubernetes
        from dask_kubernetes.operator import KubeCluster

        return Client(KubeCluster(name="faces", image="my/ferembed:latest", n_workers=20))
    if kind == "slurm":  # pip install dask-jobqueue
        from dask_jobqueue import SLURMCluster

        jobs = SLURMCluster(cores=8, processes=8, memory="16GB", walltime="04:00:00")
        jobs.scale(jobs=20)
        return Client(jobs)
    return Client(LocalCluster(n_workers=2, threads_per_worker=1))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    faces, output = sys.argv[1:3]
    with start(sys.argv[3] if len(sys.argv) > 3 else "local") as client:
        print("dashboard:", client.dashboard_link)
        print(cluster.embed(faces, Embedder("mini-vgg", store="none"), client, output))
    vectors = datasets.open_vectors(output)
    Pipeline.for_vectors(vectors, "fourier-svm").fit(vectors).save("model")
