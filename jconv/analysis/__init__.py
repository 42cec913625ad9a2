"""Analysis of networks and kernels: summaries, receptive fields, images of kernels."""

from jconv.analysis.effective_receptive_field import ReceptiveField as ReceptiveField
from jconv.analysis.effective_receptive_field import receptive_field as receptive_field
from jconv.analysis.summary import Summary as Summary
from jconv.analysis.summary import summarize as summarize
