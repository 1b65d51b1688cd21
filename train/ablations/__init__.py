"""The paper's ablation tables as data."""
