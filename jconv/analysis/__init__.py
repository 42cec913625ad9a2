"""Analysis: what a network and a kernel are, told without training them."""

from jconv.analysis.summary import summarize as summarize
