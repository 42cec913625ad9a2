"""Analysis: what a network and a kernel are, told without training them."""

from jconv.analysis.effective_receptive_field import ReceptiveField as ReceptiveField
from jconv.analysis.effective_receptive_field import receptive_field as receptive_field
from jconv.analysis.summary import Summary as Summary
from jconv.analysis.summary import summarize as summarize
