"""How good a model is: metrics that know nothing of models, protocols and reports."""
