"""Built-in plugins, registered through the same hooks as other plugins."""

from collections.abc import Sequence

from cxrscore.contract import Dataset, Executor, Explainer, Loss, Metric, Network, hookimpl
from cxrscore.executors import executors
from cxrscore.explainers import explainers
from cxrscore.labels import datasets
from cxrscore.losses import losses
from cxrscore.metrics import metrics
from cxrscore.networks.builtin import networks


@hookimpl
def cxrscore_networks() -> Sequence[Network]:
    return networks()


@hookimpl
def cxrscore_datasets() -> Sequence[Dataset]:
    return datasets


@hookimpl
def cxrscore_losses() -> Sequence[Loss]:
    return losses


@hookimpl
def cxrscore_metrics() -> Sequence[Metric]:
    return metrics


@hookimpl
def cxrscore_explainers() -> Sequence[Explainer]:
    return explainers


@hookimpl
def cxrscore_executors() -> Sequence[Executor]:
    return executors
