"""Everything that is drawn. Figures are made without pyplot, so that no global state or display is needed."""
