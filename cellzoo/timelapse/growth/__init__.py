"""Growth rates of series of counts: the fit, losses, conditions, tables and the page."""
